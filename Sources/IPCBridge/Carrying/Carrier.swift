#if NATS
    import IPC
    import IPCChannels
    import Logging

    /// Carries the messages of one channel in one direction.
    ///
    /// The bridge runs each carrier in a task of its own. ``Carriers`` makes them.
    protocol Carrier: Sendable {
        /// Carries until the task is cancelled, and then ends in order: what it has taken is stored on the other side, or known not to
        /// be, and it has left its channels. It has 3 seconds for that.
        ///
        /// - Throws: When it has to begin anew: the bridge logs the error, waits 100 ms, twice as long each time up to 5 s, and calls
        ///   this again. A ``Refusal`` is not repeated: the bridge tells it in the status, until a configuration or a channel changes.
        func run() async throws
    }

    /// Why a channel is not carried, for people: both sides are named.
    struct Refusal: Error, CustomStringConvertible {
        let description: String
        init(_ description: String) { self.description = description }
    }

    /// What a carrier works with.
    struct CarrierContext: Sendable {
        let connection: NATSConnection
        let directory: Directory
        /// This machine.
        let machine: Machine
        let rule: ChannelRule
        let root: ChannelRoot
        let name: ChannelName
        let pattern: ChannelPattern
        let names: ServerNames
        let status: CarrierStatus
        let logger: Logger

        /// Whether nothing is to wait for more. What carries it runs in ``UrgentThreads``, and may block its thread for a moment.
        var isUrgent: Bool { pattern == .topic && rule.delay == .zero }

        /// Opens the local channel. A carrier opens it each time it begins.
        ///
        /// - Throws: A ``Refusal`` if it was created anew with another pattern.
        func openChannel() throws -> AnyChannel {
            let channel = try AnyChannel.open(name.description, in: root)
            guard channel.pattern == pattern else {
                throw Refusal(
                    "\(name) is \(channel.pattern.withArticle) on \(machine), not \(pattern.withArticle); give one of them another name"
                )
            }
            return channel
        }
    }

    /// Which carriers there are for a channel. Each pattern has a line in each of the two.
    enum Carriers {
        /// Whether the pattern has one carrier for each other machine that has the channel; otherwise one for all.
        static func hasOneForEachMachine(_ pattern: ChannelPattern) -> Bool {
            pattern == .topic || pattern == .workQueue
        }

        /// - Returns: Nil if nothing is to be carried in this direction.
        static func make(_ context: CarrierContext, _ direction: CarrierDirection) -> (any Carrier)? {
            switch (context.pattern, direction) {
            case (.topic, .out): TopicExport(context: context)
            case (.topic, .in(let origin?)): TopicImport(context: context, origin: origin)
            case (.workQueue, .out): JobExport(context: context)
            case (.workQueue, .in(let origin?)): JobImport(context: context, origin: origin)
            case (.service, .out): CallExport(context: context)
            case (.service, .in): CallImport(context: context)
            case (.latest, .out): LatestExport(context: context)
            case (.latest, .in): LatestImport(context: context)
            case (.event, .out): EventExport(context: context)
            case (.event, .in): EventImport(context: context)
            case (.topic, .in(nil)), (.workQueue, .in(nil)): nil
            }
        }
    }
#endif
