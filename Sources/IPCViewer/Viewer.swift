import FlyingFox
import FlyingSocks
import Foundation
import IPC
import IPCChannels
import SystemPackage

/// The page of `ipc serve-ui`, which starts this program: one of its own, since Foundation, which HTTP needs here, would make
/// each start of `ipc` three times as long.
///
/// Standard input has what there is to show, a line of JSON for each look; when that ends, so does this.
@main
enum Main {
    static func main() async throws {
        guard CommandLine.arguments.count == 2, let port = UInt16(CommandLine.arguments[1]) else {
            try end("this is started by: ipc serve-ui", code: 64)
        }
        let token = (0..<4).map { _ in String(UInt32.random(in: 0 ... .max), radix: 36) }.joined()
        let viewer = Viewer(token: token)
        let server = HTTPServer(address: try .inet(ip4: "127.0.0.1", port: port), logger: .disabled, handler: viewer)
        let running = Task { try await server.run() }
        do {
            try await server.waitUntilListening(timeout: 5)
        } catch {
            try end("port \(port) is taken; choose another --port", code: 6)
        }
        guard case .ip4(_, let chosen) = await server.listeningAddress else {
            try end("the server has no address", code: 1)
        }
        let input = try PipeReader(adopting: OwnedDescriptor(adopting: .standardInput))
        try FileDescriptor.standardOutput.writeAll("http://127.0.0.1:\(chosen)/\(token)/\n".utf8)
        for try await look in try input.lines(limit: 1 << 26) { await viewer.show(look) }
        running.cancel()
    }

    private static func end(_ message: String, code: Int32) throws -> Never {
        try FileDescriptor.standardError.writeAll("ipc: \(message)\n".utf8)
        exit(code)
    }
}

/// Answers the page's requests. It reads, and changes nothing.
private actor Viewer: HTTPHandler {
    private let token: String
    /// The newest look at the channels, in JSON.
    private var channels = "[]"

    init(token: String) { self.token = token }

    func show(_ look: String) { channels = look }

    func handleRequest(_ request: HTTPRequest) async throws -> HTTPResponse {
        // By its address, so that no name of somebody else's comes to mean this one.
        guard request.headers[.host]?.hasPrefix("127.0.0.1:") == true, request.method == .GET,
            request.path == "/\(token)" || request.path.hasPrefix("/\(token)/")
        else { return HTTPResponse(statusCode: .notFound) }
        switch request.path.dropFirst(token.count + 2) {
        case "": return response(Data(ViewerPage.html.utf8), "text/html; charset=utf-8")
        case "channels": return response(Data(channels.utf8), "application/json")
        case "messages":
            guard let name = request.query.first(where: { $0.name == "name" })?.value,
                let messages = try? Self.messages(name)
            else { return HTTPResponse(statusCode: .notFound) }
            return response(messages, "application/json")
        default: return HTTPResponse(statusCode: .notFound)
        }
    }

    /// The newest messages, by a tap: nobody knows of it.
    private static func messages(_ name: String) throws -> Data {
        struct Message: Encodable {
            var sequence: UInt64
            var text: String?
            var hex: String?
        }
        var tap = try ChannelTap(name, from: .last(20))
        var messages: [Message] = []
        while messages.count < 20, let message = try tap.next() {
            let text = String(validating: message.bytes, as: UTF8.self)
            let hex = text == nil ? message.bytes.map { String(format: "%02x", $0) }.joined() : nil
            messages.append(Message(sequence: message.sequence, text: text, hex: hex))
        }
        return try JSONEncoder().encode(messages)
    }

    private func response(_ body: Data, _ type: String) -> HTTPResponse {
        HTTPResponse(
            statusCode: .ok,
            headers: [
                .contentType: type, .cacheControl: "no-store",
                HTTPHeader("Content-Security-Policy"): "default-src 'self' 'unsafe-inline'",
                HTTPHeader("Referrer-Policy"): "no-referrer", HTTPHeader("X-Content-Type-Options"): "nosniff",
            ], body: body)
    }
}
