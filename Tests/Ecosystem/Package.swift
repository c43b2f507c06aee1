// swift-tools-version: 6.2
import PackageDescription

// A package of its own, so that who only wants swift-ipc never builds SwiftNIO: the traits with what they are for, and
// event loops that are not ours.
let settings: [SwiftSetting] = [.swiftLanguageMode(.v6), .treatAllWarnings(as: .error)]

let package = Package(
    name: "swift-ipc-ecosystem",
    dependencies: [
        .package(name: "swift-ipc", path: "../..", traits: ["Lifecycle", "Logging", "Metrics", "Tracing"]),
        .package(url: "https://github.com/apple/swift-nio", from: "2.80.0"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.8.0"),
        .package(url: "https://github.com/apple/swift-log", from: "1.6.0"),
        .package(url: "https://github.com/apple/swift-metrics", from: "2.5.0"),
        .package(url: "https://github.com/apple/swift-distributed-tracing", from: "1.2.0"),
    ],
    targets: [
        .executableTarget(
            name: "EchoComparison",
            dependencies: [
                .product(name: "IPC", package: "swift-ipc"),
                .product(name: "NIOCore", package: "swift-nio"), .product(name: "NIOPosix", package: "swift-nio"),
            ],
            path: "EchoComparison",
            swiftSettings: settings
        ),
        .executableTarget(
            name: "Newcomer",
            dependencies: [
                .product(name: "IPC", package: "swift-ipc"), .product(name: "IPCChannels", package: "swift-ipc"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
                .product(name: "Logging", package: "swift-log"),
            ],
            path: "Newcomer",
            swiftSettings: settings
        ),
        .testTarget(
            name: "EcosystemTests",
            dependencies: [
                "Newcomer",
                .product(name: "IPC", package: "swift-ipc"), .product(name: "IPCChannels", package: "swift-ipc"),
                .product(name: "NIOCore", package: "swift-nio"), .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "MetricsTestKit", package: "swift-metrics"),
                .product(name: "InMemoryTracing", package: "swift-distributed-tracing"),
                .product(name: "Tracing", package: "swift-distributed-tracing"),
            ],
            path: "EcosystemTests",
            swiftSettings: settings
        ),
    ]
)
