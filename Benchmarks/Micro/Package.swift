// swift-tools-version:6.2
import PackageDescription

// A package of its own: who builds netcond builds no benchmark framework. `make micro` runs it.
let package = Package(
  name: "netcond-micro",
  dependencies: [
    .package(name: "netcond", path: "../.."),
    // Without its traits: they would replace malloc, and the framework that counts is not what is measured here.
    .package(url: "https://github.com/ordo-one/benchmark", from: "1.38.1", traits: []),
  ],
  targets: [
    .executableTarget(
      name: "NetcondMicro",
      dependencies: [
        .product(name: "MicroKit", package: "netcond"), .product(name: "Benchmark", package: "benchmark"),
      ],
      path: "Benchmarks/NetcondMicro", plugins: [.plugin(name: "BenchmarkPlugin", package: "benchmark")])
  ],
  swiftLanguageModes: [.v6]
)
