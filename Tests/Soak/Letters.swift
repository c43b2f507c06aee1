import IPC

#if DEBUG
    @testable import IPCChannels
#else
    import IPCChannels
#endif

/// What can be seen of dead letters without taking them.
enum Letters {
    private static func name(_ queue: Queue) throws(IPCError) -> ChannelName {
        try ChannelName(queue.name + "/dead-letters")
    }

    static func isEmpty(_ queue: Queue) throws(IPCError) -> Bool {
        try ChannelDescription(name(queue)).messageCount == 0
    }

    /// How many have made room for newer ones so far. A release build does not tell.
    static func dropped(_ queue: Queue) throws(IPCError) -> UInt64 {
        #if DEBUG
            let memory = try ChannelMemory.opened(name(queue), in: .current)
            return withExtendedLifetime(memory) { memory.droppedLetters.relaxed }
        #else
            return .max / 2
        #endif
    }
}
