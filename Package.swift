// swift-tools-version:6.2
import PackageDescription

// NETCOND_LWIP=system builds against Debian's packaged liblwip instead of the fetched source (README, "lwIP").
let usesSystemLwip = Context.environment["NETCOND_LWIP"] == "system"

// Several Clang modules declare struct iovec, timespec and their kin, and the importer takes any of them: where all these
// modules meet, members must be visible whichever it took (no MemberImportVisibility).
let swiftWhereModulesMeet: [SwiftSetting] = [
  .treatAllWarnings(as: .error),
  .enableUpcomingFeature("ExistentialAny"), .enableUpcomingFeature("InternalImportsByDefault"),
  .enableExperimentalFeature("Lifetimes"),
  // The daemon is single-threaded and its state is reached through pointers: dynamic exclusivity checks would cost
  // 30 ns per callback (shared/design/datapath.md). Debug builds, and so the tests, keep them.
  .unsafeFlags(["-enforce-exclusivity=unchecked"], .when(configuration: .release)),
]
let swift = swiftWhereModulesMeet + [.enableUpcomingFeature("MemberImportVisibility")]
// The daemon has one thread (a system test counts them): it counts references by plain instructions, not by atomic ones.
// Debug builds, and so the tests, keep those.
let singleThreaded: [SwiftSetting] = [
  .unsafeFlags(["-Xfrontend", "-assume-single-threaded"], .when(configuration: .release))
]
let interceptMap = "\(Context.packageDirectory)/Sources/Intercept/intercept.map"

let clwip: Target =
  usesSystemLwip
  ? .systemLibrary(
    name: "CLwip", path: "Sources/CLwipSystem", pkgConfig: "lwip", providers: [.apt(["liblwip-dev"])])
  : .target(
    name: "CLwip", path: "Sources/CLwip", sources: ["hooks.c", "lwip/src/core", "lwip/src/netif/ethernet.c"],
    publicHeadersPath: "include",
    cSettings: [.unsafeFlags(["-O2", "-fno-strict-aliasing", "-w"])])

let package = Package(
  name: "netcond",
  products: [
    .executable(name: "netcond", targets: ["netcond"]),
    .library(name: "netcond-intercept", type: .dynamic, targets: ["Intercept"]),
    .library(name: "UringLoop", targets: ["UringLoop"]),
    .library(name: "LwipGlue", targets: ["LwipGlue"]),
    .library(name: "MicroKit", targets: ["MicroKit"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    .package(url: "https://github.com/apple/swift-collections", from: "1.6.0"),
    .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
    .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
  ],
  targets: [
    .systemLibrary(name: "CUring", pkgConfig: "liburing", providers: [.apt(["liburing-dev"])]),
    .systemLibrary(name: "CSignal"),
    .target(
      name: "CSocket",
      cSettings: [.define("_GNU_SOURCE"), .unsafeFlags(["-std=c11", "-O2", "-Wall", "-Wextra", "-Werror"])]),
    .systemLibrary(name: "CTun"),
    clwip,
    .target(name: "NetcondRPC"),
    .target(name: "Slab", swiftSettings: swift + singleThreaded),
    .target(name: "Frames", swiftSettings: swift + singleThreaded),
    .target(name: "UringLoop", dependencies: ["CUring"], swiftSettings: swift + singleThreaded),
    .target(
      name: "Links",
      dependencies: [
        "CTun", "Frames", "UringLoop", .product(name: "DequeModule", package: "swift-collections"),
        .product(name: "HeapModule", package: "swift-collections"),
      ],
      swiftSettings: swift + singleThreaded),
    .target(
      name: "LwipGlue",
      dependencies: ["CLwip", "Frames", "Slab", .product(name: "DequeModule", package: "swift-collections")],
      swiftSettings: swift + singleThreaded),
    // HTTP without an event loop of its own: SwiftNIO's codec alone, on the daemon's ring.
    .target(
      name: "ControlPlane",
      dependencies: [
        "UringLoop", .product(name: "NIOCore", package: "swift-nio"),
        .product(name: "NIOEmbedded", package: "swift-nio"),
        .product(name: "NIOHTTP1", package: "swift-nio"),
      ],
      swiftSettings: swiftWhereModulesMeet + singleThreaded),
    .target(
      name: "NetcondCore",
      dependencies: [
        "CSignal", "CSocket", "NetcondRPC", "Frames", "Slab", "UringLoop", "LwipGlue", "Links", "ControlPlane",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
        .product(name: "DequeModule", package: "swift-collections"),
        .product(name: "Logging", package: "swift-log"),
      ],
      swiftSettings: swiftWhereModulesMeet + singleThreaded),
    .executableTarget(name: "netcond", dependencies: ["NetcondCore"], swiftSettings: swift + singleThreaded),
    // Tests/TestSupport is a library of the tests and of the benchmark: processes, namespaces, daemons on a stage.
    .target(name: "TestSupport", dependencies: ["NetcondRPC"], path: "Tests/TestSupport", swiftSettings: swift),
    // What the micro-benchmarks measure (Benchmarks/Micro, a package of its own) and the tests run once.
    .target(
      name: "MicroKit",
      dependencies: ["NetcondCore", "NetcondRPC", "LwipGlue", "Frames", "Slab", "UringLoop"],
      path: "Benchmarks/MicroKit", swiftSettings: swiftWhereModulesMeet),
    .systemLibrary(name: "CEpoll", path: "Benchmarks/CEpoll"),
    .target(
      name: "BenchKit",
      dependencies: [
        "TestSupport", "CEpoll", "CTun", .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ],
      path: "Benchmarks/BenchKit", swiftSettings: swift),
    .executableTarget(
      name: "netcond-bench", dependencies: ["BenchKit"], path: "Benchmarks/NetcondBench", swiftSettings: swift),
    // Tests of the libraries, in process. Everything that makes a `Stack` is in LwipGlueTests, under one serialized suite:
    // lwIP is one set of globals per process, and swift test runs all targets in one process.
    .testTarget(name: "SlabTests", dependencies: ["Slab"], swiftSettings: swift),
    .testTarget(name: "FramesTests", dependencies: ["Frames"], swiftSettings: swift),
    .testTarget(name: "UringLoopTests", dependencies: ["UringLoop"], swiftSettings: swift),
    .testTarget(name: "ControlPlaneTests", dependencies: ["ControlPlane", "UringLoop"], swiftSettings: swift),
    .testTarget(name: "LinksTests", dependencies: ["Links", "Frames", "UringLoop"], swiftSettings: swift),
    .testTarget(
      name: "LwipGlueTests", dependencies: ["LwipGlue", "Frames", "Slab", "Links", "UringLoop", "MicroKit"],
      swiftSettings: swift),
    .testTarget(
      name: "NetcondCoreTests",
      dependencies: ["NetcondCore", "NetcondRPC", "LwipGlue", "Links", "Frames", "Slab", "UringLoop"],
      swiftSettings: swift),
    .testTarget(
      name: "SystemTests", dependencies: ["TestSupport", "BenchKit", "NetcondRPC"], path: "Tests/SystemTests",
      exclude: ["Programs"], swiftSettings: swift),
    .target(
      name: "Intercept", exclude: ["intercept.map"], publicHeadersPath: ".",
      cSettings: [
        .define("_GNU_SOURCE"), .headerSearchPath("../NetcondRPC/include"),
        .unsafeFlags(["-std=c11", "-O2", "-gdwarf-4", "-fvisibility=hidden", "-Wall", "-Wextra", "-Werror"]),
      ],
      linkerSettings: [
        .unsafeFlags([
          "-enable-experimental-feature", "Embedded",  // link no Swift runtime into the C library
          "-Xlinker", "--version-script=\(interceptMap)",
          "-Xlinker", "-soname=libzerotierintercept.so", "-Xlinker", "-z", "-Xlinker", "defs",
        ])
      ]),
  ],
  swiftLanguageModes: [.v6]
)
