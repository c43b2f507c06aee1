import IPC

// Channels of whatever type, as bytes: for tools, which know the type from the channel only.

extension Channel {
    /// The type of a channel that exists.
    static func type(of name: String, in root: ChannelRoot) throws(IPCError) -> MessageType {
        try ChannelMemory(ChannelName(name), in: .root(root), logAccess: .readOnly).messageType
    }
}

extension Topic where Message == RawBytes {
    /// Opens a topic of whatever type. What is published has to be as long as the type is.
    package static func openAnyType(_ name: String, in root: ChannelRoot = .current) throws(IPCError) -> Topic {
        try Topic(name, in: root, Channel.type(of: name, in: root), nil, .openExisting)
    }
}

extension WorkQueue where Message == RawBytes {
    /// Opens a queue of whatever type.
    package static func openAnyType(
        _ name: String, in root: ChannelRoot = .current, maximumAttempts: Int = 5
    ) throws(IPCError) -> WorkQueue {
        try WorkQueue(name, in: root, Channel.type(of: name, in: root), nil, maximumAttempts, .openExisting)
    }
}

extension Latest where Value == RawBytes {
    /// Opens a latest value of whatever type.
    package static func openAnyType(_ name: String) throws(IPCError) -> Latest {
        try Latest(name, Channel.type(of: name, in: .current), nil, .openExisting)
    }
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
        let memory = try ChannelMemory(name, in: .root(self), logAccess: .readOnly)
        try Recovery.tryRun(memory)
        try memory.lockGate()
        let isDead = !memory.isKept && !memory.hasLivingParticipants
        if isDead { memory.isRemoved = true }
        memory.unlockGate()
        if isDead { try Membership.remove(memory) }
        return isDead
    }
}
