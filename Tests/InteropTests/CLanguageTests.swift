import Foundation
import Glibc
import IPC
import IPCChannels
import SystemPackage
import TestSupport
import Testing

/// Participants in C, by `ipc.h`: the examples, every call, and beside Swift ones.
@Suite(.timeLimit(.minutes(15))) struct CLanguageTests {
    static let repository =
        URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        .path
    private static let folder: String = {
        let path = "/tmp/" + uniqueName()
        mkdir(path, 0o700)
        atexit { removeAll(CLanguageTests.folder) }
        return path
    }()

    /// Compiles a program against the library of this build.
    static func compile(_ source: String, _ compiler: [String], as name: String) throws -> String {
        let program = Self.folder + "/" + name
        if access(program, X_OK) == 0 { return program }
        // Under its own name only when it is whole: other tests may want the same program at this moment.
        let unfinished = Self.folder + "/" + uniqueName()
        let arguments =
            compiler.dropFirst() + [
                "-Wall", "-Wextra", "-Werror", "-O1", "-I\(Self.repository)/Sources/CIPCInterface/include",
                Self.repository + "/Bindings/C/" + source, "-o", unfinished, "-L\(products)", "-lipc-c",
                "-Wl,-rpath,\(products)", "-Wl,--allow-shlib-undefined",
            ]
        let (status, text) = try Peer("sh", ["-c", "\"$@\" 2>&1", "sh", compiler[0]] + arguments).finish()
        try #require(status == .exited(0), "\(text)")
        try #require(rename(unfinished, program) == 0)
        return program
    }

    private static let languages = [
        ["gcc", "-std=c11", "-pedantic"], ["g++", "-x", "c++", "-std=c++17"],
    ]

    static func start(_ program: String, _ arguments: [String], root: String = channelRoot) throws -> Peer {
        try Peer(program, arguments, environment: environment(root))
    }

    static func environment(_ root: String) -> [String] {
        [
            "IPC_ROOT=\(root)", "PATH=/usr/bin:/bin",
            "SWIFT_IPC_LIBRARY=" + product("libipc-c.so"), "PYTHONPATH=\(repository)/Bindings/Python",
        ]
    }

    /// Where the programs and the library of this build are.
    private static let products = String(product("").dropLast())

    /// A root for one test: the examples have names of their own.
    private func withRoot(_ body: (String) throws -> Void) throws {
        let root = "/dev/shm/" + uniqueName()
        mkdir(root, 0o700)
        defer { removeAll(root) }
        try body(root)
    }

    @Test(arguments: languages) func everyCallIsSafe(compiler: [String]) throws {
        // What C++ does not have: compound literals of structures. The examples have none.
        guard compiler[0] == "gcc" else { return }
        let program = try Self.compile("tests/interface.c", compiler, as: "interface")
        try withRoot { root in
            let (status, text) = try Self.start(program, [], root: root).finish()
            #expect(status == .exited(0) && text == "right\n", "\(text)")
        }
    }

    @Test(arguments: languages) func theExamplesSayWhatTheyPromise(compiler: [String]) throws {
        for (source, reading, writing, output, answer) in [
            ("topic", "subscribe", "publish", "1 at 12.5\n2 at 25\n3 at 37.5\n4 at 50\n5 at 62.5\n", ""),
            ("queue", "work", "push", "ship 7\n", ""),
            ("service", "serve", "call", "", "half of 8 is 4\n9 is refused: 0\n"),
            ("latest_and_event", "watch", "set", "21.5 degrees\n", ""),
        ] {
            let program = try Self.compile("examples/\(source).c", compiler, as: "\(source)-\(compiler[0])")
            try withRoot { root in
                let reader = try Self.start(program, [reading], root: root)
                // It has joined when there is somebody in each channel.
                let isThere = eventually {
                    let names = (try? ChannelRoot(FilePath(root)).names()) ?? []
                    return !names.isEmpty
                        && names.allSatisfy { name in
                            let found = try? ChannelDescription(name, in: ChannelRoot(FilePath(root)))
                            return found?.participants.isEmpty == false
                        }
                }
                #expect(isThere)
                let (status, text) = try Self.start(program, [writing], root: root).finish()
                #expect(status == .exited(0) && text == answer, "\(source): \(text)")
                let (code, told) = try reader.finish()
                #expect(code == .exited(0) && told == output, "\(source): \(told)")
            }
        }
    }

    private struct Quote: BitwiseCopyable, Equatable {
        var symbol: UInt32
        var price: Double
    }

    /// What C publishes, Swift receives by its own type.
    @Test func aSwiftTypeIsTheOneOfC() throws {
        let program = try Self.compile("examples/topic.c", Self.languages[0], as: "topic-of-swift")
        try withRoot { root in
            let topic = try Topic<Quote>.openOrCreate(
                "market/quotes", in: ChannelRoot(FilePath(root)), ChannelOptions(writers: .shared))
            var subscription = try topic.makeSubscription()
            #expect(try Self.start(program, ["publish"], root: root).finish().status == .exited(0))
            for number in 1...5 {
                #expect(
                    try subscription.receive(until: .after(.seconds(10)))
                        == Quote(symbol: UInt32(number), price: 12.5 * Double(number)))
            }
        }
    }
}
