public import IPC

// For a bridge that carries notices of an event between machines: it learns of them without taking any away from those who wait, and
// what it adds is not counted as made here.
extension ChannelReader {
    /// How many notices participants of this machine have made on an event so far.
    ///
    /// - Throws: ``/IPC/IPCError/Code/wrongType`` for another pattern; ``/IPC/IPCError/Code/inherited`` in a child process of fork.
    public func eventCounts() throws(IPCError) -> EventCounts {
        try checkIsOfEvent("count notices")
        return switch participant {
        case .some(let participant): participant.counts
        case .none: throw channel.misused("count notices")
        }
    }

    /// Waits until participants of this machine have made more notices than at some time, and takes none of them, suspended meanwhile.
    ///
    /// - Parameters:
    ///   - counts: What is known already: what ``eventCounts()`` or this call returned before.
    ///   - deadline: How long to wait.
    /// - Returns: How many there are now.
    /// - Throws: ``/IPC/IPCError/Code/timedOut``; ``/IPC/IPCError/Code/cancelled``; ``/IPC/IPCError/Code/wrongType``;
    ///   ``/IPC/IPCError/Code/removed``.
    public nonisolated(nonsending) mutating func waitForNotices(
        after counts: EventCounts, until deadline: Deadline = .never
    ) async throws(IPCError) -> EventCounts {
        try checkIsOfEvent("wait")
        return try await participant!.wait(after: counts, until: deadline)
    }

    private func checkIsOfEvent(_ operation: String) throws(IPCError) {
        switch participant {
        case .some(let participant):
            let memory = participant.membership.memory
            guard !memory.isInherited else { throw memory.isInheritedError }
        case .none: throw channel.misused(operation)
        }
    }
}

extension ChannelWriter {
    /// Adds `count` notices to an event that were made on another machine. As ``notify(count:)``, and ``ChannelReader/eventCounts()``
    /// does not count them.
    ///
    /// - Throws: ``/IPC/IPCError/Code/wrongType`` for another pattern; ``/IPC/IPCError/Code/inherited`` in a child process of fork.
    public mutating func notifyCarried(count: Int = 1) throws(IPCError) {
        try checkMayNotify()
        participant!.notifyCarried(count: count)
    }

    /// Ends all waits for an event that are in progress, as was asked for on another machine. As ``notifyAll()``, and
    /// ``ChannelReader/eventCounts()`` does not count it.
    ///
    /// - Throws: As ``notifyCarried(count:)``.
    public mutating func notifyAllCarried() throws(IPCError) {
        try checkMayNotify()
        participant!.notifyAllCarried()
    }
}
