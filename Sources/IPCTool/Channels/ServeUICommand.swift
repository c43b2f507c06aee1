import ArgumentParser
import Glibc
import IPC

/// `ipc serve-ui`: what `ipc top` shows, as a page.
struct ServeUICommand: Interruptible {
    static let configuration = CommandConfiguration(
        commandName: "serve-ui", abstract: "Show channels live on a page, for this machine only.",
        discussion: """
            The page is on loopback, and only under an address with a random word in it, which is printed. It reads, and changes \
            nothing; like `ipc tap`, it takes part in no channel. The program `ipc-ui`, beside this one, serves it: up to 64 \
            connections at a time, of which each has five seconds to ask, and as long to take the answer. One more ends the one that \
            has been silent longest, so that nobody on this machine can keep others from it. Of each message, 1,024 bytes are shown.

            Example:
              ipc serve-ui --port 8080
            """)

    @Option(help: "The port; 0 for a free one. (default: 0)", transform: Numbers.whole(0...UInt16.max))
    var port: UInt16 = 0

    func perform() async throws {
        let folder = ProcFiles.link("/proc/self/exe")?.split(separator: "/").dropLast().joined(separator: "/") ?? ""
        let program = "/" + folder + "/ipc-ui"
        guard unsafe access(program, X_OK) == 0 else {
            throw IPCError(
                .notFound, "start", program,
                advice: "build it beside this program: swift build -c release --product ipc-ui")
        }
        var screen = TopScreen()
        try screen.update()
        let (child, looks) = try start(program)
        while try await Self.show(screen.json.text, looks), !Task.isCancelled {
            try? await Task.sleep(for: .seconds(1))
            try screen.update()
        }
        if Task.isCancelled { throw CancellationError() }
        // It has ended, and has said why.
        if case .exited(let code) = try await child.value.wait() { throw ExitCode(code) }
        throw ExitCode(1)
    }

    private func start(_ program: String) throws(IPCError) -> (
        SharedReference<ChildProcess>, SharedReference<PipeWriter>
    ) {
        let pipe = try AnonymousPipe()
        let child = try ChildProcess(program, ["\(port)"], descriptors: [0: pipe.reader.descriptor])
        return (SharedReference(child), SharedReference(pipe.closingReader()))
    }

    /// - Returns: False if nobody reads any more.
    private static func show(_ text: String, _ looks: SharedReference<PipeWriter>) async throws(IPCError) -> Bool {
        do throws(IPCError) {
            try await unsafe looks.value.write(Array((text + "\n").utf8).span.bytes)
        } catch {
            guard error.code == .brokenPipe else { throw error }
            return false
        }
        return true
    }
}
