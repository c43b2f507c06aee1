import IPC

extension ChannelDescription {
    /// What there is to say of it, by its names in JSON, but for its participants. What a pattern does not have is null.
    package var facts: [(name: String, value: JSONValue)] {
        func number(_ number: Int?) -> JSONValue { number.map { .integer($0) } ?? .null }
        func ofWork(_ number: Int) -> JSONValue { pattern.carriesWork ? .integer(number) : .null }
        let guests = attributes.subscriberPermissions
        return [
            ("name", .string(name.description)), ("pattern", .string("\(pattern)")),
            ("type", .string(messageType)), ("message-size", number(messageSize)),
            ("writers", .string(attributes.writers == .shared ? "shared" : "exclusive")),
            ("overflow", .string(attributes.overflow == .block ? "block" : "overwrite")),
            ("kept", .bool(attributes.lifetime == .kept)), ("durable", .bool(attributes.durability != .none)),
            ("permissions", .string(attributes.permissions.octal)),
            ("subscriber-permissions", guests.isEmpty ? .null : .string(guests.octal)),
            ("capacity", .integer(attributes.capacity)), ("position", .integer(Int(clamping: position))),
            ("published", .integer(Int(clamping: publishedCount))), ("messages", .integer(messageCount)),
            ("taken", .integer(takenCount)), ("notices", .integer(pendingNotices)),
            ("set-aside", ofWork(asideCount)), ("bytes-occupied", ofWork(occupiedBytes)),
            ("bytes-set-aside", ofWork(asideBytes)), ("bytes-done", ofWork(doneBytes)),
            ("attempts", number(maximumAttempts)), ("backoff", backoff.map { .string($0.text) } ?? .null),
            ("maximum-waiting", number(maximumWaiting)),
            ("redeliveries", .integer(Int(clamping: redeliveryCount))),
            ("recoveries", .integer(Int(clamping: recoveryCount))),
        ]
    }

    /// All of it, with the participants.
    package var json: JSONValue {
        .members(facts.map { ($0.name, $0.value) } + [("participants", .array(participants.map(\.json)))])
    }
}

extension ChannelDescription.Participant {
    fileprivate var json: JSONValue {
        .members([
            ("role", .string("\(role)")), ("process", .integer(process)), ("alive", .bool(isAlive)),
            ("backlog", backlog.map { .integer($0) } ?? .null),
        ])
    }
}

extension RetryBackoff {
    fileprivate var text: String {
        switch self {
        case .none: "none"
        case .fixed(let delay): "\(delay)"
        case .exponential(let first, let limit): "\(first) to \(limit)"
        }
    }
}
