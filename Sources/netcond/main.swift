import NetcondCore

netcondMain()
