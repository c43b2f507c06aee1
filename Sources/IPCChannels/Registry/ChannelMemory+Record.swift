import IPC

// What a channel's creator recorded about it. Read from shared memory each time, since it is needed only when the channel is
// opened.
extension ChannelMemory {
    /// - Throws: ``/IPC/IPCError/Code/corrupted`` if the number is unknown, or the log's flags do not match the pattern.
    var pattern: ChannelPattern {
        get throws(IPCError) {
            let number = SharedUInt32(self, LogLayout.Fixed.pattern).relaxed
            guard let pattern = ChannelPattern(rawValue: number) else {
                throw unusable("its pattern is invalid: \(number)")
            }
            guard pattern.carriesWork == carriesWork, pattern.keepsNewest == keepsNewest,
                pattern.hasAnswers == hasAnswers
            else { throw unusable("its log does not have the flags of \(pattern.withArticle)") }
            return pattern
        }
    }

    /// - Throws: ``/IPC/IPCError/Code/corrupted``.
    var messageType: MessageType {
        get throws(IPCError) {
            typealias Fixed = LogLayout.Fixed
            func number(_ offset: Int) -> Int { Int(SharedUInt32(self, offset).relaxed) }
            let length = number(Fixed.typeNameLength)
            guard length <= Fixed.typeNameCapacity else {
                throw unusable("the length of its type's name is invalid: \(length)")
            }
            let name = unsafe UnsafeRawBufferPointer(
                start: UnsafeRawPointer(word(Fixed.typeName).pointer), count: length)
            return MessageType(
                name: unsafe String(decoding: name, as: UTF8.self), size: number(Fixed.typeSize),
                stride: number(Fixed.typeStride), alignment: number(Fixed.typeAlignment),
                fingerprint: word(Fixed.typeFingerprint).relaxed)
        }
    }

    /// The schema of its messages.
    ///
    /// - Throws: ``/IPC/IPCError/Code/corrupted`` if it is missing, or not that of the channel's type.
    var schema: ChannelSchema {
        get throws(IPCError) {
            let type = try messageType
            if type == .bytes { return .messages(.bytes) }
            guard case .root = place, let folder else { throw unusable("it has no name, and so no schema") }
            guard let bytes = try folder.content(of: "schema", in: name, limit: ChannelFiles.maximumSchemaSize) else {
                try checkIsStillThere()
                throw unusable("its file schema is missing; copy that as well")
            }
            let schema: ChannelSchema
            do throws(IPCError) { schema = try ChannelSchema(json: String(decoding: bytes, as: UTF8.self)) } catch {
                try checkIsStillThere()
                throw unusable(error.advice)
            }
            guard schema.fingerprint == type.fingerprint else {
                try checkIsStillThere()
                throw unusable("its schema is not that of its messages")
            }
            return schema
        }
    }

    /// What lies in the folder belongs to this channel only while no other has its name.
    private func checkIsStillThere() throws(IPCError) {
        guard try folder?.identity(of: name) == identity else { throw ChannelOpening.notFound(name) }
    }

    private func unusable(_ what: String) -> IPCError { Self.unusable(name.description, what) }

    var attributes: ChannelAttributes {
        var attributes = ChannelAttributes()
        attributes.writers = hasSharedWriters ? .shared : .exclusive
        attributes.overflow = overwrites ? .overwrite : .block
        attributes.lifetime = isKept ? .kept : .whileUsed
        attributes.durability =
            !isDurable ? .none : syncBytes == .max ? .syncedWhenAsked : .syncedEvery(bytes: Int(syncBytes))
        attributes.capacity = capacity
        (attributes.maximumReaders, attributes.maximumWriters) = (readerSlots, writerSlots)
        (attributes.permissions, attributes.subscriberPermissions) = (permissions, guestPermissions)
        if carriesWork, !hasAnswers { attributes.retries = retryPolicy }
        if hasAnswers, maximumWaiting != 0 { attributes.maximumWaiting = maximumWaiting }
        return attributes
    }
}

extension ChannelPattern {
    // The properties of its log, as in `LogLayout.Flag`.
    var carriesWork: Bool { self == .workQueue || self == .service }
    var keepsNewest: Bool { self == .latest }
    var hasAnswers: Bool { self == .service }

    var logFlags: UInt32 {
        (carriesWork ? LogLayout.Flag.carriesWork : 0) | (keepsNewest ? LogLayout.Flag.keepsNewest : 0)
            | (hasAnswers ? LogLayout.Flag.hasAnswers : 0)
    }
}
