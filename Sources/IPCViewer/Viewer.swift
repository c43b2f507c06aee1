import Glibc
import IPC
import SystemPackage

/// The page of `ipc serve-ui`, which starts this program: one of its own, which can do no more than show.
///
/// Standard input has what there is to show, a line of JSON for each look; when that ends, so does this.
@main
enum Main {
    static func main() async throws {
        guard CommandLine.arguments.count == 2, let port = UInt16(CommandLine.arguments[1]) else {
            try end("ipc-ui is internal; run ipc serve-ui", code: 64)
        }
        let token = (0..<4).map { _ in String(UInt32.random(in: 0 ... .max), radix: 36) }.joined()
        let content = ViewerContent(token: token)
        let listener: StreamListener
        do throws(IPCError) {
            listener = try StreamListener(.tcp(host: "127.0.0.1", port: port))
        } catch {
            try end(
                error.code == .addressInUse ? "port \(port) is in use; choose another --port" : "\(error)",
                code: error.code == .addressInUse ? 6 : 1)
        }
        guard case .tcp(_, let chosen) = try listener.localEndpoint else {
            try end("the server has no TCP address", code: 1)
        }
        let server = PageServer(listener) { await content.answer($0) }
        let running = Task {
            do { try await server.run() } catch  where !Task.isCancelled { try Self.end("\(error)", code: 1) }
        }
        let input = try PipeReader(adopting: OwnedDescriptor(adopting: .standardInput))
        try FileDescriptor.standardOutput.writeAll("http://127.0.0.1:\(chosen)/\(token)/\n".utf8)
        for try await look in try input.lines(limit: 1 << 26) { await content.show(look) }
        running.cancel()
    }

    private static func end(_ message: String, code: Int32) throws -> Never {
        try FileDescriptor.standardError.writeAll("ipc: \(message)\n".utf8)
        exit(code)
    }
}
