import IPC

// Channels of any type, used as bytes: for tools that know the type only from the channel.

extension Channel {
    /// The type of an existing channel.
    static func type(of name: String, in root: ChannelRoot) throws(IPCError) -> MessageType {
        try ChannelMemory(observing: ChannelName(name), in: .root(root)).messageType
    }
}

extension Topic where Message == RawBytes {
    /// Opens a topic of any type. Published messages must have the size of that type.
    package static func openAnyType(_ name: String, in root: ChannelRoot = .current) throws(IPCError) -> Topic {
        Topic(try Channel.ofAnyType(name, in: root, .topic, .open))
    }

    /// The same, and creates one of bytes with shared writers if there is none, also if it is removed before a participant joins.
    package static func openAnyType(
        _ name: String, in root: ChannelRoot = .current, orCreate options: ChannelOptions
    ) throws(IPCError) -> Topic {
        var usual = ChannelAttributes.usual(for: .topic)
        usual.writers = .shared
        return Topic(try Channel.ofAnyType(name, in: root, .topic, .openOrCreate(options), usual: usual))
    }
}

extension WorkQueue where Message == RawBytes {
    /// Opens a queue of any type.
    package static func openAnyType(_ name: String, in root: ChannelRoot = .current) throws(IPCError) -> WorkQueue {
        try anyType(name, in: root, .open)
    }

    /// The same, and creates one of bytes with shared writers if there is none.
    package static func openAnyType(
        _ name: String, in root: ChannelRoot = .current, orCreate options: ChannelOptions,
        maximumAttempts: Int? = nil, backoff: RetryBackoff? = nil
    ) throws(IPCError) -> WorkQueue {
        try anyType(name, in: root, .openOrCreate(options.retrying(maximumAttempts, backoff)))
    }

    private static func anyType(
        _ name: String, in root: ChannelRoot, _ opening: Channel.Opening
    ) throws(IPCError) -> WorkQueue {
        let channel = try Channel.ofAnyType(
            name, in: root, .workQueue, opening, usual: usual(for: name), hooks: QueueHooks())
        try checkDeadLetters(name, in: root, channel.type)
        return WorkQueue(channel)
    }
}

extension Latest where Value == RawBytes {
    /// Opens a latest value of any type.
    package static func openAnyType(_ name: String) throws(IPCError) -> Latest {
        Latest(try Channel.ofAnyType(name, in: .current, .latest, .open))
    }

    /// The same, and creates one of bytes with shared writers if there is none.
    package static func openAnyType(_ name: String, orCreate options: LatestOptions) throws(IPCError) -> Latest {
        var usual = LatestOptions.usual(0)
        usual.writers = .shared
        return Latest(
            try Channel.ofAnyType(name, in: .current, .latest, .openOrCreate(options.channel(0)), usual: usual))
    }
}

/// The type that a participant's channel carries, for tools that send bytes to a channel of any type.
package struct CarriedType {
    /// The channel's name.
    package let channel: String
    /// The full name of the type.
    package let name: String
    /// The size of each message in bytes; nil if it varies.
    package let size: Int?

    fileprivate init(_ memory: ChannelMemory) throws(IPCError) {
        let type = try memory.messageType
        channel = memory.name.description
        name = type.name
        size = type.size > 0 ? type.size : nil
    }
}

extension Topic.Publisher where Message == RawBytes {
    package var carriedType: CarriedType { get throws(IPCError) { try CarriedType(writer.memory) } }
}

extension WorkQueue.Producer where Message == RawBytes {
    package var carriedType: CarriedType { get throws(IPCError) { try CarriedType(writer.memory) } }
}

extension Latest.Setter where Value == RawBytes {
    package var carriedType: CarriedType { get throws(IPCError) { try publisher.carriedType } }
}

extension Topic where Message == RawBytes {
    /// Opens a topic of the type of another channel, and creates it if there is none.
    ///
    /// - Parameters:
    ///   - options: What is asked of it, also if it exists.
    ///   - usual: What a new one has otherwise.
    package static func createLike(
        _ name: String, in other: ChannelRoot = .current, to root: ChannelRoot = .current, as newName: String? = nil,
        _ options: ChannelOptions, new usual: ChannelOptions = ChannelOptions()
    ) throws(IPCError) -> Topic {
        Topic(
            try Channel(
                newName ?? name, in: root, .topic, Channel.type(of: name, in: other), .openOrCreate(options),
                usual: ChannelAttributes(usual, or: .usual(for: .topic))))
    }
}
