import IPC

extension ChannelPattern {
    /// Checks that a channel of this pattern can carry what the schema describes.
    ///
    /// - Throws: ``/IPC/IPCError/Code/invalidArgument``, with what is wrong, and what to give.
    func check(_ schema: ChannelSchema, _ name: String) throws(IPCError) {
        guard let fault = fault(schema) else { return }
        throw IPCError(.invalidArgument, "create \(self)", name, advice: fault)
    }

    /// - Parameter capacity: The size of the log in bytes.
    /// - Throws: ``/IPC/IPCError/Code/invalidArgument`` if not even one message would fit.
    func check(_ schema: ChannelSchema, capacity: Int, _ name: String) throws(IPCError) {
        let largest =
            switch schema {
            case .messages(let message): message.byteCount
            case .calls(let request, let reply, let failure):
                max(request.byteCount, reply.byteCount, failure.byteCount)
            }
        guard largest > capacity / 2 else { return }
        throw IPCError(
            .invalidArgument, "create \(self)", name,
            advice:
                "a message has \(largest) bytes, and the log \(capacity), of which a message may take half; request a larger capacity"
        )
    }

    /// Why it cannot, and what to give.
    private func fault(_ schema: ChannelSchema) -> String? {
        switch (self, schema) {
        case (.service, .messages(let message)):
            return
                "\(message.name) is the schema of one message, and a service has three; give {\"request\":…,\"reply\":…,\"failure\":…}"
        case (.service, .calls(let request, let reply, let failure)):
            let parts = [("request", request), ("reply", reply), ("failure", failure)]
            guard let (part, framed) = parts.first(where: { $0.1.isFramed }) else { return nil }
            return
                "its \(part) is \(framed.name), a header with bytes after it, which only a topic can have; give a \(part) of one size, or \"bytes\""
        case (.event, .messages(let message)) where message != .bytes:
            return
                "\(message.name) is the schema of a message, and an event has notices without any content; give no schema, or use a topic or a latest value"
        case (_, .calls):
            return
                "\(schema.name) is the schema of a service, and \(withArticle) has \(self == .event ? "no messages" : "messages of one type"); give \(self == .event ? "no schema" : "{\"message\":…}")"
        case (.workQueue, .messages(let message)) where message.isFramed,
            (.latest, .messages(let message)) where message.isFramed:
            return
                "\(message.name) is a header with bytes after it, which only a topic can have; give a message of one size, or \"bytes\""
        default: return nil
        }
    }
}

extension MessageSchema {
    fileprivate var isFramed: Bool { if case .framed = self { true } else { false } }
}
