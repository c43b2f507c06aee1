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
            let field = request.parameters["field"].flatMap { Int($0) }
            guard let name = request.parameters["name"], let messages = try? Self.messages(name, drawing: field)
            else { return .notFound }
            return PageResponse(Array(messages.utf8), "application/json")
        default: return .notFound
        }
    }

    /// How many messages are shown, how many bytes of each that has no schema, and how many values are drawn.
    private static let (count, bytesOfEach, valueCount) = (20, 1024, 300)

    /// The newest messages, by a tap: nobody knows of it. No more of each is copied than is shown.
    ///
    /// - Parameter field: The number of the column that is drawn, or nil.
    private static func messages(_ name: String, drawing field: Int?) throws(IPCError) -> String {
        let schema: MessageSchema
        do throws(IPCError) { schema = try AnyChannel.open(name).schema.message } catch {
            guard error.code != .notFound else { throw error }
            // Its bytes can be looked at all the same.
            return try "{\"note\":\(error.description.quotedForJSON),\"messages\":\(bytes(name))}"
        }
        return try schema == .bytes ? bytes(name) : table(name, MessageTable(schema), drawing: field)
    }

    private static func bytes(_ name: String) throws(IPCError) -> String {
        var tap = try ChannelTap(name, from: .last(count))
        var messages: [String] = []
        while messages.count < count, let message = try tap.next(limit: bytesOfEach) {
            let shown = MessageText(message.bytes, isWhole: message.isWhole)
            let kind = shown.isHex ? "hex" : "text"
            let text = shown.text.quotedForJSON
            messages.append(
                "{\"sequence\":\(message.sequence),\"bytes\":\(message.byteCount),\"\(kind)\":\(text)}")
        }
        return "[" + messages.joined(separator: ",") + "]"
    }

    private static func table(
        _ name: String, _ table: MessageTable, drawing field: Int?
    ) throws(IPCError) -> String {
        let field = field.flatMap { table.hasNumbers($0) ? $0 : nil }
        var left = field == nil ? count : valueCount
        var tap = try ChannelTap(name, from: .last(left))
        var (newest, values): ([ChannelTap.Message], [String]) = ([], [])
        while left > 0, let message = try tap.next(limit: MessageTable.bytesOfEach) {
            left -= 1
            newest.append(message)
            if newest.count > count { newest.removeFirst() }
            // With its position, so that the page knows which values it has.
            if let field { values.append("[\"\(message.position)\",\(table.number(field, message))]") }
        }
        let rows = newest.map(table.row).joined(separator: ",")
        let drawn = values.joined(separator: ",")
        return "{\"columns\":\(table.columns),\"rows\":[\(rows)],\"values\":[\(drawn)]}"
    }
}
