// swift-tools-version: 6.2
import PackageDescription

// Warnings are errors only here: SwiftPM drops the setting for packages that depend on this one.
let swiftSettings: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .strictMemorySafety(),
    .treatAllWarnings(as: .error),
]
// Examples and tests are written as most users write: without the checks for unsafe code.
let plainSettings: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .treatAllWarnings(as: .error),
]
let cSettings: [CSetting] = [
    .treatAllWarnings(as: .error)
]

// One short program for each section of the guide.
let examples = [
    "Pipes", "NamedPipes", "SharedMemoryAndSemaphores", "MappedFiles", "MessageQueues", "Sockets", "GracefulShutdown",
    "ReapingChildren", "LogLevel", "ProducerConsumer", "Topics", "WorkQueues",
    "Services", "LatestValues", "Events",
]

let package = Package(
    name: "swift-ipc",
    products: [
        .library(name: "IPC", targets: ["IPC"]),
        .library(name: "IPCChannels", targets: ["IPCChannels"]),
        .library(name: "IPCBridge", targets: ["IPCBridge"]),
        .library(name: "ipc-c", type: .dynamic, targets: ["IPCForC"]),
        .executable(name: "ipc", targets: ["IPCTool"]),
        .executable(name: "ipc-ui", targets: ["IPCViewer"]),
        .executable(name: "ipc-bridge", targets: ["IPCBridgeTool"]),
    ],
    // What a program asks for that wants it; none is resolved or built for others.
    traits: [
        .trait(name: "Lifecycle", description: "Servers and workers as services of swift-service-lifecycle."),
        .trait(name: "Logging", description: "Deaths, recoveries and dead letters told to swift-log."),
        .trait(name: "Metrics", description: "Channels' figures told to swift-metrics."),
        .trait(
            name: "NATS", description: "The bridge between machines, over NATS JetStream: needs libnats.",
            enabledTraits: ["Logging", "Metrics"]),
        .trait(name: "Tracing", description: "The context of swift-distributed-tracing in messages."),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.5.0"),
        .package(url: "https://github.com/apple/swift-system", from: "1.6.0"),
        .package(url: "https://github.com/HdrHistogram/hdrhistogram-swift", from: "0.2.0"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.8.0"),
        .package(url: "https://github.com/apple/swift-log", from: "1.6.0"),
        .package(url: "https://github.com/apple/swift-metrics", from: "2.5.0"),
        .package(url: "https://github.com/apple/swift-distributed-tracing", from: "1.2.0"),
    ],
    targets: [
        // Floor 1
        .target(name: "CIPCShims", cSettings: cSettings),
        // Floor 2
        .target(
            name: "IPC",
            dependencies: ["CIPCShims", .product(name: "SystemPackage", package: "swift-system")],
            swiftSettings: swiftSettings
        ),
        // Floor 3
        .target(
            name: "IPCChannels",
            dependencies: [
                "CIPCShims", "IPC", .product(name: "SystemPackage", package: "swift-system"),
                .product(
                    name: "ServiceLifecycle", package: "swift-service-lifecycle",
                    condition: .when(traits: ["Lifecycle"])),
                .product(name: "Logging", package: "swift-log", condition: .when(traits: ["Logging"])),
                .product(name: "Metrics", package: "swift-metrics", condition: .when(traits: ["Metrics"])),
                .product(
                    name: "Tracing", package: "swift-distributed-tracing", condition: .when(traits: ["Tracing"])),
            ],
            swiftSettings: swiftSettings
        ),
        // Floor 4, for other languages
        .target(name: "CIPCInterface", cSettings: cSettings),
        .target(
            name: "IPCForC",
            dependencies: [
                "CIPCInterface", "IPC", "IPCChannels", .product(name: "SystemPackage", package: "swift-system"),
            ],
            // Without the checks for unsafe code: it consists of nothing but pointers.
            swiftSettings: plainSettings
        ),
        // Floor 4, between machines: empty without the trait
        .systemLibrary(name: "CNATS", pkgConfig: "libnats", providers: [.apt(["libnats-dev"])]),
        .target(
            name: "IPCBridge",
            dependencies: [
                .target(name: "CNATS", condition: .when(traits: ["NATS"])), "IPC", "IPCChannels",
                .product(name: "SystemPackage", package: "swift-system"),
                .product(name: "Logging", package: "swift-log", condition: .when(traits: ["NATS"])),
                .product(name: "Metrics", package: "swift-metrics", condition: .when(traits: ["NATS"])),
            ],
            swiftSettings: plainSettings
        ),
        .executableTarget(
            name: "IPCBridgeTool",
            dependencies: [
                .target(name: "CNATS", condition: .when(traits: ["NATS"])), "IPC", "IPCBridge", "IPCChannels",
                .product(name: "SystemPackage", package: "swift-system"),
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            swiftSettings: plainSettings
        ),
        // Measurements
        .target(name: "CBaselines", cSettings: cSettings),
        .target(
            name: "IPCBenchmarks",
            dependencies: [
                "CBaselines", "CIPCShims", "IPC", "IPCChannels",
                .product(name: "Histogram", package: "hdrhistogram-swift"),
                .product(name: "SystemPackage", package: "swift-system"),
            ],
            swiftSettings: swiftSettings
        ),
        // Floor 4
        .executableTarget(
            name: "IPCTool",
            dependencies: [
                "IPC", "IPCBenchmarks", "IPCChannels",
                .product(name: "SystemPackage", package: "swift-system"),
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            swiftSettings: swiftSettings
        ),
        .executableTarget(
            name: "IPCViewer",
            dependencies: [
                "IPC", "IPCChannels", .product(name: "SystemPackage", package: "swift-system"),
            ],
            swiftSettings: plainSettings
        ),
    ]
        + examples.map { name in
            .executableTarget(
                name: name,
                dependencies: ["IPC", "IPCChannels", .product(name: "SystemPackage", package: "swift-system")],
                path: "Examples/\(name)",
                swiftSettings: plainSettings
            )
        } + [
            // A process of ours for the tests to kill, and one in C that is not.
            .executableTarget(
                name: "TestPeer",
                dependencies: [
                    "AllocationCounter", "IPC", "IPCChannels", "SystemSupport", "TestSupport",
                    .product(name: "SystemPackage", package: "swift-system"),
                ],
                path: "Tests/TestPeer",
                swiftSettings: plainSettings
            ),
            .executableTarget(
                name: "ChannelPeer",
                dependencies: ["IPC", "IPCChannels", .product(name: "SystemPackage", package: "swift-system")],
                path: "Tests/ChannelPeer",
                swiftSettings: plainSettings
            ),
            // Kills participants for hours, for Scripts/torture.sh; briefly in a test.
            .executableTarget(
                name: "Torture",
                dependencies: [
                    "CIPCShims", "IPC", "IPCChannels", "TestSupport",
                    .product(name: "SystemPackage", package: "swift-system"),
                ],
                path: "Tests/Torture",
                swiftSettings: plainSettings
            ),
            // Queues and services for hours, for Scripts/soak.sh; briefly in a test.
            .executableTarget(
                name: "Soak",
                dependencies: [
                    "CIPCShims", "IPC", "IPCChannels", "TestSupport",
                    .product(name: "SystemPackage", package: "swift-system"),
                ],
                path: "Tests/Soak",
                swiftSettings: plainSettings
            ),
            // Three hosts in network namespaces with bridges between them, for Scripts/cluster.sh; briefly in a test.
            .executableTarget(
                name: "Cluster",
                dependencies: [
                    "CIPCShims", "IPC", "IPCChannels", "TestSupport",
                    .product(name: "SystemPackage", package: "swift-system"),
                ],
                path: "Tests/Cluster",
                swiftSettings: plainSettings
            ),
            // What is run in a virtual machine that crashes: Scripts/crash.sh.
            .executableTarget(
                name: "CrashPeer",
                dependencies: ["IPC", "IPCChannels", .product(name: "SystemPackage", package: "swift-system")],
                path: "Tests/CrashPeer",
                swiftSettings: plainSettings
            ),
            .executableTarget(
                name: "CPeer", path: "Tests/CPeer", cSettings: cSettings, linkerSettings: [.linkedLibrary("rt")]),
            .executableTarget(name: "LogPeer", path: "Tests/LogPeer", cSettings: cSettings),
            // Programs that are started as users start theirs: with an asynchronous main, and of top-level code.
            .executableTarget(
                name: "AsyncPeer", dependencies: ["IPC"], path: "Tests/AsyncPeer", swiftSettings: plainSettings),
            .executableTarget(
                name: "TopLevelPeer", dependencies: ["IPC"], path: "Tests/TopLevelPeer", swiftSettings: plainSettings),
            // Each public call of the library, in tables.
            .executableTarget(
                name: "CallPeer",
                dependencies: [
                    "IPC", "IPCChannels", "SystemSupport", "TestSupport",
                    .product(name: "SystemPackage", package: "swift-system"),
                ],
                path: "Tests/CallPeer",
                swiftSettings: plainSettings
            ),
            .target(name: "SystemSupport", path: "Tests/SystemSupport", cSettings: cSettings),
            .target(name: "AllocationCounter", path: "Tests/AllocationCounter", cSettings: cSettings),
            .target(
                name: "TestSupport",
                dependencies: ["IPC", "IPCChannels", .product(name: "SystemPackage", package: "swift-system")],
                path: "Tests/TestSupport",
                swiftSettings: plainSettings
            ),
            .testTarget(
                name: "IPCTests",
                dependencies: [
                    "AsyncPeer", "IPC", "CIPCShims", "TestPeer", "TestSupport", "TopLevelPeer",
                    .product(name: "SystemPackage", package: "swift-system"),
                ],
                swiftSettings: plainSettings
            ),
            .testTarget(
                name: "CallTests",
                dependencies: [
                    "CallPeer", "IPC", "TestSupport", .product(name: "SystemPackage", package: "swift-system"),
                ],
                swiftSettings: plainSettings
            ),
            .testTarget(
                name: "IPCChannelsTests",
                dependencies: [
                    "ChannelPeer", "IPC", "IPCChannels", "TestSupport",
                    .product(name: "SystemPackage", package: "swift-system"),
                ],
                swiftSettings: plainSettings
            ),
            .testTarget(
                name: "TortureTests",
                dependencies: [
                    "ChannelPeer", "CIPCShims", "IPC", "IPCChannels", "Soak", "TestSupport", "Torture",
                    .product(name: "SystemPackage", package: "swift-system"),
                ],
                swiftSettings: plainSettings
            ),
            .executableTarget(
                name: "BridgePeer", dependencies: ["IPC", "IPCChannels"], path: "Tests/BridgePeer",
                swiftSettings: plainSettings
            ),
            .testTarget(
                name: "BridgeTests",
                dependencies: [
                    "BridgePeer", "Cluster", .target(name: "CNATS", condition: .when(traits: ["NATS"])), "IPC",
                    "IPCBridge", "IPCBridgeTool", "IPCChannels", "TestSupport",
                    .product(name: "SystemPackage", package: "swift-system"),
                ],
                swiftSettings: plainSettings
            ),
            // The other side of a bare C program, for Scripts/bridge-rates.sh.
            .executableTarget(
                name: "BridgeRates",
                dependencies: ["IPC", "IPCChannels", .product(name: "SystemPackage", package: "swift-system")],
                path: "Tests/BridgeRates", exclude: ["bare.c"], swiftSettings: plainSettings
            ),
            .testTarget(
                name: "ToolTests",
                dependencies: [
                    "CBaselines", "ChannelPeer", "IPC", "IPCBenchmarks", "IPCBridgeTool", "IPCChannels", "IPCTool",
                    "IPCViewer",
                    "TestPeer", "TestSupport",
                    .product(name: "SystemPackage", package: "swift-system"),
                ],
                swiftSettings: plainSettings
            ),
            .testTarget(
                name: "InteropTests",
                dependencies: [
                    "IPC", "IPCChannels", "IPCTool", "CPeer", "LogPeer", "TestSupport",
                    .product(name: "SystemPackage", package: "swift-system"),
                ]
                    + examples.map { .target(name: $0) },
                exclude: ["log_peer.py"],
                swiftSettings: plainSettings
            ),
        ]
)

// A part alone, where a build of everything takes too long: Scripts/test.sh sets these, the first under a sanitizer.
let parts: [String: Set<String>] = [
    "IPC_LIBRARIES_ONLY": [
        "IPCTests", "IPCChannelsTests", "AsyncPeer", "ChannelPeer", "TestPeer", "TopLevelPeer", "AllocationCounter",
        "CIPCShims", "IPC", "IPCChannels", "SystemSupport", "TestSupport",
    ],
    "IPC_BRIDGE_ONLY": [
        "BridgePeer", "BridgeRates", "BridgeTests", "CIPCShims", "CNATS", "Cluster", "IPC", "IPCBridge",
        "IPCBridgeTool", "IPCChannels", "TestSupport", "ipc-bridge",
    ],
]
for (variable, kept) in parts where Context.environment[variable] != nil {
    package.targets.removeAll { !kept.contains($0.name) }
    package.products.removeAll { !kept.contains($0.name) }
}
