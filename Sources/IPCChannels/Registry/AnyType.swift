import IPC

// Channels of whatever type, as bytes: for tools, which know the type from the channel only.

extension Channel {
    /// The type of a channel that exists.
    static func type(of name: String, in root: ChannelRoot) throws(IPCError) -> MessageType {
        try ChannelMemory(observing: ChannelName(name), in: .root(root)).messageType
    }
}

extension Topic where Message == RawBytes {
    /// Opens a topic of whatever type, or makes one of bytes. What is published has to be as long as the type is.
    ///
    /// - Parameter options: What to make it with, also when it is gone by the time that somebody joins; nil if it has to exist.
    package static func openAnyType(
        _ name: String, in root: ChannelRoot = .current, orCreate options: ChannelOptions? = nil
    ) throws(IPCError) -> Topic {
        Topic(try Channel.ofAnyType(name, in: root, .topic, options))
    }
}

extension WorkQueue where Message == RawBytes {
    /// Opens a queue of whatever type, or makes one of bytes.
    package static func openAnyType(
        _ name: String, in root: ChannelRoot = .current, orCreate options: ChannelOptions? = nil,
        maximumAttempts: Int? = nil, backoff: RetryBackoff? = nil
    ) throws(IPCError) -> WorkQueue {
        let retries = PolicyWish(maximumAttempts: maximumAttempts, backoff: backoff)
        try retries.check(name)
        let queue = WorkQueue(
            try Channel.ofAnyType(name, in: root, .workQueue, Self.options(options, name, retries), retries))
        try checkDeadLetters(name, in: root, queue.channel.type)
        return queue
    }
}

extension Latest where Value == RawBytes {
    /// Opens a latest value of whatever type, or makes one of bytes.
    package static func openAnyType(_ name: String, orCreate options: LatestOptions? = nil) throws(IPCError) -> Latest {
        Latest(try Channel.ofAnyType(name, in: .current, .latest, options?.channel(size: 0)))
    }
}

/// What the channel of a participant carries, for tools that send bytes to a channel of whatever type.
package struct CarriedType {
    /// The channel's name.
    package let channel: String
    /// The full name of the type.
    package let name: String
    /// Bytes of each message; nil if they vary.
    package let size: Int?

    fileprivate init(_ memory: ChannelMemory) {
        channel = memory.name.description
        name = memory.messageType.name
        size = memory.messageType.size > 0 ? memory.messageType.size : nil
    }
}

extension Publisher where Message == RawBytes {
    package var carriedType: CarriedType { CarriedType(writer.memory) }
}

extension Producer where Message == RawBytes {
    package var carriedType: CarriedType { CarriedType(writer.memory) }
}

extension LatestSetter where Value == RawBytes {
    package var carriedType: CarriedType { publisher.carriedType }
}

extension Topic where Message == RawBytes {
    /// Creates a topic of the type of another channel, or opens it if it exists.
    package static func createLike(
        _ name: String, in other: ChannelRoot = .current, to root: ChannelRoot = .current, as newName: String? = nil,
        _ options: ChannelOptions
    ) throws(IPCError) -> Topic {
        try Topic(newName ?? name, in: root, Channel.type(of: name, in: other), options, .openExisting)
    }
}

extension ChannelRoot {
    /// Does for a channel what its last participant would have done if it had not died: takes it away, unless it is to be
    /// kept, or somebody has joined meanwhile.
    ///
    /// - Returns: Whether it was taken away.
    package func removeIfDead(_ name: ChannelName) throws(IPCError) -> Bool {
        // What a dead worker had is given back in the log.
        let memory = try ChannelMemory(name, in: .root(self), logAccess: .readWrite)
        try memory.checkRemovable()
        try Recovery.tryRun(memory)
        try memory.lockGate()
        let isDead = !memory.isKept && !memory.hasLivingParticipants
        if isDead { memory.isRemoved = true }
        memory.unlockGate()
        if isDead { try Membership.remove(memory) }
        return isDead
    }
}
