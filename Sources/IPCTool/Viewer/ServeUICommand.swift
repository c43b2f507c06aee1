import ArgumentParser
import FlyingFox
import FlyingSocks
import Foundation
import IPC
import IPCChannels

/// `ipc serve-ui`: what `ipc top` shows, as a page.
struct ServeUICommand: Interruptible {
    static let configuration = CommandConfiguration(
        commandName: "serve-ui", abstract: "Show channels live on a page, for this machine only.",
        discussion: """
            The page is on loopback, and only under an address with a random word in it, which is printed. It reads, and changes
            nothing; like `ipc tap`, it takes part in no channel.

            Example:
              ipc serve-ui --port 8080
            """)

    @Option(help: "The port; 0 for a free one.") var port: UInt16 = 0

    func perform() async throws {
        let token = (0..<4).map { _ in String(UInt32.random(in: 0 ... .max), radix: 36) }.joined()
        let viewer = Viewer(token: token)
        let server = HTTPServer(
            address: try .inet(ip4: "127.0.0.1", port: port), logger: .disabled, handler: viewer)
        let running = Task { try await server.run() }
        do {
            try await server.waitUntilListening(timeout: 5)
        } catch {
            running.cancel()
            // The server's own error says why.
            do { try await running.value } catch {
                throw IPCError(.addressInUse, "listen", "port \(port)", advice: "\(error); choose another --port")
            }
        }
        guard case .ip4(_, let chosen) = await server.listeningAddress else {
            throw IPCError(.unsupported, "listen", "port \(port)", advice: "the server has no address")
        }
        try MessageOutput.put(line: "http://127.0.0.1:\(chosen)/\(token)/")
        await withTaskCancellationHandler {
            _ = await running.result
        } onCancel: {
            running.cancel()
        }
        throw CancellationError()
    }
}

/// Answers the page's requests.
private actor Viewer: HTTPHandler {
    private let token: String
    private var screen = TopScreen()

    init(token: String) { self.token = token }

    func handleRequest(_ request: HTTPRequest) async throws -> HTTPResponse {
        // By its address, so that no name of somebody else's comes to mean this one.
        guard request.headers[.host]?.hasPrefix("127.0.0.1:") == true, request.method == .GET,
            request.path.hasPrefix("/\(token)/")
        else { return HTTPResponse(statusCode: .notFound) }
        switch request.path.dropFirst(token.count + 2) {
        case "": return response(ViewerPage.html, "text/html; charset=utf-8")
        case "channels":
            screen.update()
            return response(screen.json.text, "application/json")
        case "messages":
            guard let name = request.query.first(where: { $0.name == "name" })?.value,
                var tap = try? ChannelTap(name, from: .last(20))
            else { return HTTPResponse(statusCode: .notFound) }
            return response(Self.messages(&tap).text, "application/json")
        default: return HTTPResponse(statusCode: .notFound)
        }
    }

    private static func messages(_ tap: inout ChannelTap) -> JSON {
        var lines: [JSON] = []
        while lines.count < 20, let message = try? tap.next() {
            lines.append(.object([("sequence", .integer(Int(clamping: message.sequence))), message.bytes.json]))
        }
        return .array(lines)
    }

    private func response(_ text: String, _ type: String) -> HTTPResponse {
        HTTPResponse(
            statusCode: .ok,
            headers: [
                .contentType: type, .cacheControl: "no-store",
                HTTPHeader("Content-Security-Policy"): "default-src 'self' 'unsafe-inline'",
                HTTPHeader("Referrer-Policy"): "no-referrer", HTTPHeader("X-Content-Type-Options"): "nosniff",
            ], body: Data(text.utf8))
    }
}
