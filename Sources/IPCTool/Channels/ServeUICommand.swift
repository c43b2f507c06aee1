import ArgumentParser
import Glibc
import IPC

/// `ipc serve-ui`: what `ipc top` shows, as a page.
struct ServeUICommand: Interruptible {
    static let configuration = CommandConfiguration(
        commandName: "serve-ui", abstract: "Serve a live web page of the channels, for this machine only.",
        discussion: """
            It prints the address of the page, which is on loopback and contains a random token. The page only reads: like \
            `ipc tap`, it is not a participant of a channel. It shows up to 1,024 bytes of each message, 16 KiB if the \
            channel has a schema. The program `ipc-ui`, in the folder of this one, serves it on up to 64 connections at a time. Each connection has five seconds for the \
            request, and five for the response. A further connection closes the one that has been idle longest, so that no \
            process can block the others.

            Example:
              ipc serve-ui --port 8080
            """)

    @Option(help: "Port; 0 for a free one. (default: 0)", transform: Numbers.whole(0...UInt16.max))
    var port: UInt16 = 0

    func perform() async throws {
        let folder = ProcFiles.link("/proc/self/exe")?.split(separator: "/").dropLast().joined(separator: "/") ?? ""
        let program = "/" + folder + "/ipc-ui"
        guard unsafe access(program, X_OK) == 0 else {
            throw IPCError(
                .notFound, "start", program,
                advice: "it has to be in the folder of ipc; build it: swift build -c release --product ipc-ui")
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
