import ArgumentParser
import Glibc
import IPC
import SystemPackage

/// A command that is run for one message: on its standard input.
struct CommandRun: Sendable {
    let words: [String]

    init(_ words: [String]) throws {
        guard !words.isEmpty else { throw ValidationError("a command is missing after --.") }
        self.words = words
    }

    /// Runs it, and waits for its end. It is killed if the task is cancelled.
    ///
    /// - Parameter outputLimit: How many bytes of its standard output are wanted; nil to leave that to it.
    func callAsFunction(
        _ input: [UInt8], environment: [String] = [], outputLimit: Int? = nil
    ) async throws(IPCError) -> (status: ExitStatus, output: [UInt8]) {
        let stdin = try AnonymousPipe()
        let stdout = try AnonymousPipe()
        var descriptors: [CInt: FileDescriptor] = [0: stdin.reader.descriptor]
        if outputLimit != nil { descriptors[1] = stdout.writer.descriptor }
        let child = Shared(
            try ChildProcess(
                words[0], Array(words.dropFirst()), environment: Self.ownEnvironment + environment,
                descriptors: descriptors))
        let reader = Shared(stdout.closingWriter())
        do throws(IPCError) {
            // Its input and its output at the same time: both may be more than a pipe holds.
            let feeding = Self.startFeeding(stdin.closingReader(), input)
            var output: [UInt8] = []
            if let outputLimit { output = try await reader.value.readToEnd(limit: outputLimit) }
            let status = try await child.value.wait()
            feeding.cancel()
            await feeding.value
            return (status, output)
        } catch {
            try? child.value.handle.send(.kill)
            _ = try? await child.value.wait(until: .after(.seconds(1)))
            throw error
        }
    }

    /// What does not read its input is none the worse.
    private static func startFeeding(_ writer: consuming PipeWriter, _ input: [UInt8]) -> Task<Void, Never> {
        // The pipe is closed when the task, which alone has it, has ended.
        let writer = Shared(writer)
        return Task { try? await unsafe writer.value.write(input.span.bytes) }
    }

    private static var ownEnvironment: [String] {
        var all: [String] = []
        var next = unsafe environ
        while let entry = unsafe next.pointee {
            unsafe all.append(String(cString: entry))
            unsafe next += 1
        }
        return all
    }
}
