// swift-tools-version: 6.2
import PackageDescription

// Warnings are errors only here: SwiftPM drops the setting for packages that depend on this one.
let swiftSettings: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .strictMemorySafety(),
    .treatAllWarnings(as: .error),
]
let cSettings: [CSetting] = [
    .treatAllWarnings(as: .error)
]

let package = Package(
    name: "swift-ipc",
    products: [
        .library(name: "IPC", targets: ["IPC"]),
        .executable(name: "ipc", targets: ["IPCTool"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.5.0"),
        .package(url: "https://github.com/apple/swift-system", from: "1.6.0"),
        .package(url: "https://github.com/swiftlang/swift-subprocess", from: "1.0.0", traits: []),
        .package(url: "https://github.com/HdrHistogram/hdrhistogram-swift", from: "0.2.0"),
    ],
    targets: [
        // Floor 1
        .target(name: "CIPCShims", cSettings: cSettings),
        // Floor 2
        .target(
            name: "IPC",
            dependencies: [
                "CIPCShims",
                .product(name: "SystemPackage", package: "swift-system"),
                .product(name: "Subprocess", package: "swift-subprocess"),
            ],
            swiftSettings: swiftSettings
        ),
        // Measurements
        .target(name: "CBaselines", cSettings: cSettings),
        .target(
            name: "IPCBenchmarks",
            dependencies: [
                "CBaselines", "CIPCShims", "IPC",
                .product(name: "Histogram", package: "hdrhistogram-swift"),
                .product(name: "SystemPackage", package: "swift-system"),
            ],
            swiftSettings: swiftSettings
        ),
        // Floor 4
        .executableTarget(
            name: "IPCTool",
            dependencies: [
                "IPC", "IPCBenchmarks",
                .product(name: "SystemPackage", package: "swift-system"),
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            swiftSettings: swiftSettings
        ),
    ]
)
