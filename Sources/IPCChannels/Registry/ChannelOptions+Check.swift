import IPC
import SystemPackage

extension ChannelAttributes {
    /// Checks that a new channel can have these. Also called if the channel exists: what is impossible is always an error.
    ///
    /// - Throws: ``/IPC/IPCError/Code/invalidArgument`` with the value and the valid range.
    func check(_ name: ChannelName, _ pattern: ChannelPattern) throws(IPCError) {
        func refuse(_ advice: String) throws(IPCError) -> Never {
            throw IPCError(.invalidArgument, "create channel", name.description, advice: advice)
        }
        for (what, number) in [("readers", maximumReaders), ("writers", maximumWriters)] {
            guard (1...LogLayout.maximumSlots).contains(number) else {
                try refuse("\(number) \(what) were requested; a channel has 1 to \(LogLayout.maximumSlots)")
            }
        }
        if pattern == .workQueue, overflow == .overwrite {
            try refuse("a work queue cannot overwrite messages; request overflow block")
        }
        if durability != .none, lifetime == .whileUsed {
            try refuse("a durable channel is always kept; request lifetime kept, or no durability")
        }
        guard !subscriberPermissions.isEmpty else { return }
        guard pattern == .topic || pattern == .latest else {
            try refuse("only topics and latest values have subscriberPermissions; a \(pattern) has participants only")
        }
        try checkSubscribers(refuse)
    }

    /// Guests must belong to a class of users that may read the files but may not be participants.
    private func checkSubscribers(_ refuse: (String) throws(IPCError) -> Never) throws(IPCError) {
        let asked = "subscriberPermissions \(subscriberPermissions.octal)"
        let guests = subscriberPermissions.rawValue
        if guests & ~0o066 != 0 {
            let owner = FilePermissions(rawValue: guests & ~0o066)
            try refuse(
                "\(asked) were requested, but \(owner.octal) has no meaning: the owner is a participant, and nothing is executed; request 0060 (the group), 0006 (all others), or 0066"
            )
        }
        // Classes whose write bit is set without the read bit.
        let unread = guests & 0o022 & ~(guests >> 1)
        if unread != 0 {
            try refuse(
                "\(asked) were requested, but \(FilePermissions(rawValue: unread).octal) allows writing without reading, and a subscriber reads; request \(FilePermissions(rawValue: guests | unread << 1).octal)"
            )
        }
        // A user who may write to the channel is a participant, not a guest.
        let participants = permissions.rawValue & (guests & 0o044) >> 1
        if participants != 0 {
            let classes = participants | participants << 1
            try refuse(
                "permissions \(permissions.octal) let the users of \(asked) write to the channel, by \(FilePermissions(rawValue: participants).octal), which makes them participants; request permissions \(FilePermissions(rawValue: permissions.rawValue & ~participants).octal), or leave \(FilePermissions(rawValue: classes).octal) out of subscriberPermissions"
            )
        }
    }

}

extension ChannelOptions {
    /// The size of the largest log in bytes.
    static let largestCapacity = 1 << 40

    /// Checks each value by itself.
    ///
    /// - Throws: ``/IPC/IPCError/Code/invalidArgument`` with the value and the valid range.
    func check(_ name: String) throws(IPCError) {
        try checkRetries(name)
        try checkWaiting(name)
        guard let capacity, !(1...Self.largestCapacity).contains(capacity) else { return }
        throw IPCError(
            .invalidArgument, "create channel", name,
            advice: "a log of \(capacity) bytes was requested; a log has 64 KiB to 1 TiB")
    }

    /// Checks that an existing channel has what is asked for.
    ///
    /// - Throws: ``/IPC/IPCError/Code/incompatibleOptions`` with all that differs, on both sides.
    func check(_ memory: ChannelMemory) throws(IPCError) {
        let existing = ChannelOptions(memory.attributes)
        let names = try memory.pattern.optionNames
        var differences: [(option: String, existing: String, asked: String)] = []
        func compare<Value: Equatable>(_ option: String, _ asked: Value?, _ existing: Value?, _ text: (Value) -> String)
        {
            guard let asked, asked != existing else { return }
            differences.append((option, existing.map(text) ?? "no limit", text(asked)))
        }
        compare("writers", writers, existing.writers) { "\($0)" }
        compare("overflow", overflow, existing.overflow) { "\($0)" }
        compare("lifetime", lifetime, existing.lifetime) { "\($0)" }
        compare("durability", durability?.rounded, existing.durability) { "\($0)" }
        let share = memory.hasAnswers ? 4 : 1  // of a service's log, a client's calls may take a quarter
        compare("capacity", capacity.map(ChannelAttributes.roundedCapacity), existing.capacity) { "\($0 / share)" }
        compare(names.readers, maximumReaders, existing.maximumReaders) { "\($0)" }
        compare(names.writers, maximumWriters, memory.hasSharedWriters ? existing.maximumWriters : 1) { "\($0)" }
        // The files are readable for guests, too.
        let guests = memory.guestPermissions.intersection([.ownerRead, .groupRead, .otherRead])
        compare("permissions", permissions?.union(guests), existing.permissions) { $0.octal }
        compare(
            "subscriberPermissions", subscriberPermissions?.readingAndWriting,
            existing.subscriberPermissions?.readingAndWriting
        ) { $0.octal }
        compare("maximumAttempts", maximumAttempts, existing.maximumAttempts) { $0 == .max ? "no limit" : "\($0)" }
        compare("backoff", backoff, existing.backoff) { "\($0)" }
        compare("maximumWaiting", maximumWaiting, existing.maximumWaiting) { "\($0)" }
        guard !differences.isEmpty else { return }
        let theirs = differences.map { "\($0.option) \($0.existing)" }.joined(separator: ", ")
        let ours = differences.map { "\($0.option) \($0.asked)" }.joined(separator: ", ")
        throw IPCError(
            .incompatibleOptions, "open \((try? memory.pattern)?.description ?? "channel")", memory.name.description,
            advice:
                "it was created with \(theirs), but \(ours) was requested; request the same, leave the options out, or remove it first"
        )
    }
}

extension ChannelPattern {
    /// What the maximum numbers of its participants are called where users give them.
    fileprivate var optionNames: (readers: String, writers: String) {
        switch self {
        case .service: ("maximumServers", "maximumClients")
        case .event: ("maximumParticipants", "maximumWriters")
        case .topic, .workQueue, .latest: ("maximumReaders", "maximumWriters")
        }
    }
}

extension ChannelOptions.Durability {
    /// As it is stored.
    fileprivate var rounded: ChannelOptions.Durability {
        if case .syncedEvery(let bytes) = self { .syncedEvery(bytes: max(bytes, 1)) } else { self }
    }
}
