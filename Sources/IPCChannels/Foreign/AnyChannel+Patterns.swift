import IPC

// A channel of a known pattern and an unknown type, with all that the pattern offers, as bytes.
extension AnyChannel {
    /// The topic, with messages as bytes: for observers, batches and messages that are written in place.
    ///
    /// What is published has to be a value of ``messageType``. Its size is not checked here, unlike by a ``ChannelWriter``.
    ///
    /// - Throws: ``/IPC/IPCError/Code/wrongType`` if the channel has another pattern.
    public var topic: Topic<RawBytes> { get throws(IPCError) { Topic(try channel(as: .topic)) } }

    /// The work queue, with messages as bytes: for jobs that tasks share, and for what is in the queue. As for ``topic``, sizes are not
    /// checked.
    ///
    /// - Throws: ``/IPC/IPCError/Code/wrongType`` if the channel has another pattern.
    public var workQueue: WorkQueue<RawBytes> { get throws(IPCError) { WorkQueue(try channel(as: .workQueue)) } }

    /// The latest value, as bytes: for observers. As for ``topic``, sizes are not checked.
    ///
    /// - Throws: ``/IPC/IPCError/Code/wrongType`` if the channel has another pattern.
    public var latest: Latest<RawBytes> { get throws(IPCError) { Latest(try channel(as: .latest)) } }

    private func channel(as wanted: ChannelPattern) throws(IPCError) -> Channel {
        guard pattern == wanted else {
            throw IPCError(
                .wrongType, "open \(wanted)", name.description,
                advice: "expected \(wanted.withArticle), found \(pattern.withArticle); choose another name")
        }
        return channel
    }
}
