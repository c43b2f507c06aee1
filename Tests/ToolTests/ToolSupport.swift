import Glibc
import IPC
import SystemPackage
import TestSupport

/// The `ipc` command as a user runs it, in a process of its own.
struct Tool: ~Copyable {
    struct Outcome {
        let status: IPC.ExitStatus
        let output: String
        let errors: String
    }

    let peer: Peer
    private let errors: PipeReader

    /// Starts it.
    ///
    /// - Parameter input: What its standard input has.
    init(_ arguments: [String], input: String = "", environment: [String: String] = [:]) throws {
        let (stdin, stderr) = try (Box(AnonymousPipe(capacity: 1 << 20)), Box(AnonymousPipe(capacity: 1 << 20)))
        _ = channelRoot
        var all = ["IPC_ROOT=\(channelRoot)", "HOME=/tmp/ipc-test-none", "PATH=/usr/bin:/bin:/usr/local/bin"]
        all = all.filter { entry in !environment.keys.contains { entry.hasPrefix($0 + "=") } }
        all += environment.map { "\($0)=\($1)" }
        try stdin.value.writer.write(Array(input.utf8).span.bytes, until: .after(.seconds(5)))
        let reader = try PipeReader(adopting: OwnedDescriptor(adopting: stderr.value.reader.descriptor.duplicate()))
        let started = try Peer(
            product("ipc"), arguments, environment: all,
            descriptors: [0: stdin.value.reader.descriptor, 2: stderr.value.writer.descriptor])
        peer = started
        errors = reader
    }

    /// Waits for its end.
    borrowing func finish() throws -> Outcome {
        let (status, text) = try peer.finish(within: .seconds(30))
        let messages = try errors.readToEnd(until: .after(.seconds(5)))
        return Outcome(status: status, output: text, errors: String(decoding: messages, as: UTF8.self))
    }

    /// Waits until its standard error has said something.
    borrowing func complained() throws -> String {
        let got = try bytes(capacity: 4096) { (buffer) throws(IPCError) in
            try errors.read(into: &buffer, until: .after(.seconds(20)))
        }
        return String(decoding: got, as: UTF8.self)
    }

    private final class Box<Value: ~Copyable> {
        let value: Value
        init(_ value: consuming Value) { self.value = value }
    }
}

/// Runs it to its end.
func ipc(_ arguments: String..., input: String = "", environment: [String: String] = [:]) throws -> Tool.Outcome {
    try Tool(arguments, input: input, environment: environment).finish()
}
