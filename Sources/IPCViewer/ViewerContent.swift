import IPC
import IPCChannels

/// What the page's requests are answered with. It reads, and changes nothing.
actor ViewerContent {
    private let token: String
    /// The newest look at the channels, in JSON.
    private var channels = Array("[]".utf8)

    init(token: String) { self.token = token }

    func show(_ look: String) { channels = Array(look.utf8) }

    /// Messages are looked at outside of the actor: a look that takes long keeps nobody else waiting.
    nonisolated func answer(_ request: PageRequest) async -> PageResponse {
        // By its address, so that no name of somebody else's comes to mean this one.
        guard request.method == "GET", request.path.hasPrefix("/\(token)/"),
            request.host == "127.0.0.1" || request.host.hasPrefix("127.0.0.1:")
        else {
            return .notFound
        }
        switch request.path.dropFirst(token.utf8.count + 2) {
        case "": return PageResponse(Array(ViewerPage.html.utf8), "text/html; charset=utf-8")
        case "channels": return PageResponse(await channels, "application/json")
        case "messages":
            guard let name = request.parameters["name"], let messages = try? Self.messages(name) else {
                return .notFound
            }
            return PageResponse(Array(messages.utf8), "application/json")
        default: return .notFound
        }
    }

    /// How many messages are shown, and how many bytes of each.
    private static let (count, bytesOfEach) = (20, 1024)

    /// The newest messages, by a tap: nobody knows of it. No more of each is copied than is shown.
    private static func messages(_ name: String) throws(IPCError) -> String {
        var tap = try ChannelTap(name, from: .last(count))
        var messages: [String] = []
        while messages.count < count, let message = try tap.next(limit: bytesOfEach) {
            let isWhole = message.byteCount <= bytesOfEach
            let (kind, text) = shown(message.bytes, isWhole: isWhole)
            messages.append(
                "{\"sequence\":\(message.sequence),\"bytes\":\(message.byteCount),\"\(kind)\":\(text.quotedForJSON)}")
        }
        return "[" + messages.joined(separator: ",") + "]"
    }

    private static func shown(_ bytes: [UInt8], isWhole: Bool) -> (kind: String, text: String) {
        // One that was cut may have been cut within a character.
        for missing in 0...(isWhole ? 0 : min(3, bytes.count)) {
            if let text = String(validating: bytes.dropLast(missing), as: UTF8.self) {
                return ("text", isWhole ? text : text + "…")
            }
        }
        let digits = Array("0123456789abcdef".utf8)
        let hex = bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }
        return ("hex", String(decoding: hex, as: UTF8.self) + (isWhole ? "" : "…"))
    }
}
