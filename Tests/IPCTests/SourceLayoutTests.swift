import Foundation
import Testing

/// Where things are in the sources of `IPC`: what calls whom, and where the platform is.
@Suite(.timeLimit(.minutes(1))) struct SourceLayoutTests {
    private static let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().appending(path: "Sources/IPC")

    /// The files of a folder, without comments.
    private func files(_ folder: String) throws -> [(name: String, text: String)] {
        let folder = Self.root.appending(path: folder)
        return try FileManager.default.contentsOfDirectory(atPath: folder.path).filter { $0.hasSuffix(".swift") }.map {
            let text = try String(contentsOf: folder.appending(path: $0), encoding: .utf8)
            let lines = text.split(separator: "\n").map { (line: Substring) -> Substring in
                line.firstRange(of: "//").map { line[..<$0.lowerBound] } ?? line
            }
            return ($0, lines.joined(separator: "\n"))
        }
    }

    private static let mechanisms = [
        "Pipes", "Memory", "MessageQueues", "Sockets", "Signals", "Processes", "Synchronization",
    ]

    /// So that a port is a folder, and not a search.
    @Test func whatIsLinuxsOwnIsInOneFolder() throws {
        let calls =
            /ipc_(epoll|futex|inotify|signalfd|memfd|eventfd|pidfd|timer|waitid_pidfd)\w*|inotify_\w+\(|"\/(proc|dev\/shm)\//
        for folder in ["Core", "Waiting"] + Self.mechanisms {
            for (name, text) in try files(folder) {
                let found = text.matches(of: calls).map { String($0.output.0) }
                #expect(found == [], "\(folder)/\(name)")
            }
        }
    }

    @Test func waitingKnowsNoMechanism() throws {
        let declaration = /(?m)^(?:public |package |final |@frozen |@safe )*(?:struct|class|enum) (\w+)/
        var types: Set<Substring> = []
        for folder in Self.mechanisms {
            for (_, text) in try files(folder) { types.formUnion(text.matches(of: declaration).map(\.output.1)) }
        }
        #expect(types.isSuperset(of: ["PipeReader", "StreamSocket", "SharedMemory", "MessageQueue", "SignalSet"]))
        for folder in ["Core", "Waiting"] {
            for (name, text) in try files(folder) {
                let words = Set(text.split { !($0.isLetter || $0.isNumber || $0 == "_") })
                #expect(words.intersection(types) == [], "\(folder)/\(name)")
            }
        }
    }
}
