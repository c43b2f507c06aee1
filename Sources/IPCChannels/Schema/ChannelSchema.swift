public import IPC

/// The description of what a channel carries: messages of one type, or calls with three types.
public enum ChannelSchema: Hashable, Sendable {
    /// The messages of a topic, a work queue or a latest value. An event, and a topic of bytes, have `bytes`.
    case messages(MessageSchema)
    /// The requests, replies and failures of a service.
    case calls(request: MessageSchema, reply: MessageSchema, failure: MessageSchema)

    /// The messages, or the requests.
    public var message: MessageSchema {
        switch self {
        case .messages(let message): message
        case .calls(let request, _, _): request
        }
    }

    /// The name for people, such as `Quote`, or `(Int32) throws(Refusal) -> Double`.
    public var name: String {
        switch self {
        case .messages(let message): message.name
        case .calls(let request, let reply, let failure): "(\(request.name)) throws(\(failure.name)) -> \(reply.name)"
        }
    }

    /// The schema as JSON, on one line.
    public var json: String {
        switch self {
        case .messages(let message): JSONValue.members([("message", message.value(named: true))]).text
        case .calls(let request, let reply, let failure):
            JSONValue.members([
                ("request", request.value(named: true)), ("reply", reply.value(named: true)),
                ("failure", failure.value(named: true)),
            ]).text
        }
    }

    /// Parses a schema of JSON: ``json``, or the schema of its messages alone, such as `"u64"`.
    ///
    /// - Throws: ``/IPC/IPCError/Code/invalidArgument``, with the place of the mistake.
    public init(json: String) throws(IPCError) {
        do throws(JSONError) {
            let value = try JSONValue(parsing: json)
            func part(_ key: String) throws(JSONError) -> MessageSchema {
                guard let part = value[key] else { throw JSONError("\"\(key)\" is missing") }
                return try MessageSchema(part, isWhole: true)
            }
            if value["message"] != nil {
                self = .messages(try part("message"))
            } else if ["request", "reply", "failure"].contains(where: { value[$0] != nil }) {
                self = .calls(request: try part("request"), reply: try part("reply"), failure: try part("failure"))
            } else {
                self = .messages(try MessageSchema(value, isWhole: true))
            }
        } catch {
            throw IPCError(.invalidArgument, "read schema", "", advice: "the schema is not valid: \(error.reason)")
        }
    }

    /// A number that the schemas of different types almost surely do not share.
    var fingerprint: UInt64 {
        switch self {
        case .messages(let message): return message.fingerprint
        case .calls(let request, let reply, let failure):
            var fingerprint = Fingerprint()
            for schema in [request, reply, failure] { fingerprint.add("\(schema.fingerprint)") }
            return fingerprint.value
        }
    }

    /// The first difference between what a channel carries and what a program has, as the end of a sentence; nil if there is none.
    package static func difference(channel: ChannelSchema, program: ChannelSchema) -> String? {
        switch (channel, program) {
        case (.messages(let channel), .messages(let program)): MessageSchema.difference(channel, program)
        case (
            .calls(let request, let reply, let failure), .calls(let otherRequest, let otherReply, let otherFailure)
        ):
            MessageSchema.difference(request, otherRequest, "the request")
                ?? MessageSchema.difference(reply, otherReply, "the reply")
                ?? MessageSchema.difference(failure, otherFailure, "the failure")
        default: "one has calls, and the other messages"
        }
    }
}
