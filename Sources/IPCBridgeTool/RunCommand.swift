#if NATS
    import ArgumentParser
    import CNATS
    import Glibc
    import IPC
    import IPCBridge
    import Logging

    /// `ipc-bridge`, `ipc-bridge run`: carries until it is told to end.
    struct RunCommand: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "run", abstract: "Carry until SIGTERM or Ctrl-C. The default.",
            discussion: """
                It says on standard error when it is connected, loses the connection, and has to begin anew with a channel.

                Example:
                  ipc bridge --config bridge.json
                """)

        /// How long the bridge has to end in order. A second signal ends it at once.
        private static let patience = Duration.seconds(6)

        @OptionGroup var options: ConfigurationOptions
        @Flag(name: .shortAndLong, help: "Log what is done, beside what is wrong.") var verbose = false

        /// Raises the soft limit of descriptors to the hard one: a channel takes three, and usually 1024 are allowed.
        private static func raiseDescriptorLimit() {
            let resource = __rlimit_resource_t(UInt32(RLIMIT_NOFILE.rawValue))
            var limit = rlimit()
            guard getrlimit(resource, &limit) == 0, limit.rlim_cur < limit.rlim_max else { return }
            limit.rlim_cur = limit.rlim_max
            setrlimit(resource, &limit)
        }

        func run() async throws {
            let configuration = try options.read()
            Self.raiseDescriptorLimit()
            // Messages of 64 KiB come and go all the time: their memory is not given back to the system each time.
            mallopt(M_TRIM_THRESHOLD, 64 << 20)
            mallopt(M_TOP_PAD, 4 << 20)
            mallopt(M_MMAP_THRESHOLD, 4 << 20)
            let level: Logger.Level = verbose ? .debug : .info
            let logger = Logger(label: "ipc-bridge") { label in
                var handler = StreamLogHandler.standardError(label: label)
                handler.logLevel = level
                return handler
            }
            let bridge = Bridge(configuration, logger: logger)
            let signals = try SignalSource([.interrupt, .terminate, .hangUp])
            let work = Task { try await bridge.run() }
            let code = Task { try await Self.follow(signals, work, bridge, options, logger) }
            let outcome = await work.result
            code.cancel()
            if case .success(let number) = await code.result, number > 0 { throw ExitCode(number) }
            try outcome.get()
        }

        /// - Returns: The exit code of the signal that ended the bridge; 0 if it ended by itself.
        private static func follow(
            _ signals: borrowing SignalSource, _ work: Task<Void, any Error>, _ bridge: Bridge,
            _ options: ConfigurationOptions, _ logger: Logger
        ) async throws -> Int32 {
            while !Task.isCancelled {
                guard let received = try? await signals.next() else { return 0 }
                guard received.signal == .hangUp else {
                    work.cancel()
                    let code = 128 + received.signal.rawValue
                    // A carrier that does not end in time is not waited for.
                    do throws(IPCError) { _ = try await signals.next(until: .after(patience)) } catch
                        where error.code == .cancelled
                    { return code } catch {}
                    Glibc._exit(code)
                }
                do { bridge.change(to: try options.read()) } catch {
                    logger.error("the configuration stays as it was", metadata: ["reason": "\(error)"])
                }
            }
            return 0
        }
    }

    /// `ipc-bridge check`
    struct CheckCommand: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "check", abstract: "Check a configuration, and print which channels here it carries.",
            discussion: """
                It connects to no server. An error names the place, such as channels[2].delivery.

                Example:
                  ipc bridge check --config bridge.json
                """)

        @OptionGroup var options: ConfigurationOptions

        func run() async throws {
            let configuration = try options.read()
            for line in try configuration.summary(in: .current) { print(line.escapingControls) }
        }
    }

    /// `ipc-bridge status`
    struct StatusCommand: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "status", abstract: "Print what the bridges of this machine carry.",
            discussion: """
                For each channel and direction: messages carried, read and not carried yet (behind), sent or given again \
                (redelivered), and dropped by limits. The exit code is 4 if no bridge runs.

                Examples:
                  ipc bridge status
                  ipc bridge status --format json
                """)

        enum Format: String, CaseIterable, ExpressibleByArgument { case text, json }

        @Option(name: .long, help: "Output format.") var format = Format.text

        func run() async throws {
            let reports = try BridgeReport.all(in: .current)
            switch format {
            case .text: for line in BridgeReport.lines(reports) { print(line.escapingControls) }
            case .json: print(BridgeReport.json(reports))
            }
            if !reports.contains(where: \.isAlive) {
                if reports.isEmpty, format == .text {
                    printError(
                        "ipc-bridge: no bridge runs in \(BridgeReport.root); start one: ipc bridge --config FILE")
                }
                throw ExitCode(4)
            }
        }
    }
#endif
