import IPCChannels

extension ChannelDescription {
    /// On one line.
    var json: String {
        JSONValue.members([
            ("name", .string(name.description)), ("pattern", .string("\(pattern)")),
            ("messages", .integer(messageCount)),
            ("taken", .integer(takenCount)), ("published", .integer(publishedCount)),
            ("participants", .array(participants.map(\.json))),
        ]).text
    }
}

extension ChannelDescription.Participant {
    fileprivate var json: JSONValue {
        .members([
            ("role", .string("\(role)")), ("process", .integer(process)), ("alive", .bool(isAlive)),
            ("backlog", backlog.map { .integer($0) }),
        ])
    }
}
