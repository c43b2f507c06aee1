#if NATS
    import ArgumentParser
    import IPC
    import IPCBridge

    /// Where the configuration comes from: a file, or flags for one rule.
    struct ConfigurationOptions: ParsableArguments {
        @Option(name: .long, help: "The configuration; JSON. Relative paths in it are relative to its folder.")
        var config: String?
        @Option(name: .long, help: "Without --config: a server's URL, such as nats://127.0.0.1:4222. Can be repeated.")
        var server: [String] = []
        @Option(name: .long, help: "Without --config: the channels to carry, such as market/quotes or 'market/**'.")
        var channel: String?
        @Option(name: .long, help: "Only channels of this pattern: topic, queue, service, latest or event.")
        var pattern: String?
        @Option(name: .long, help: "out, in or both, as seen from this machine. (default: both)")
        var direction: String?
        @Option(name: .long, help: "Of topics: stored or best-effort. (default: stored)")
        var delivery: String?
        @Option(
            name: .long, help: "Of topics: how long a message may wait for others, such as 0 or 1ms. (default: 1ms)")
        var delay: String?
        @Option(name: .long, help: "Of topics: where a new machine starts: next, oldest or a time. (default: next)")
        var start: String?
        @Option(name: .long, help: "On how many servers each stream is stored. (default: 1)")
        var replicas: String?
        @Option(name: .long, help: "This machine's name. (default: the host name)")
        var machine: String?
        @Option(name: .long, help: "The first part of all names on the server. (default: ipc)")
        var prefix: String?
        @Option(name: .long, help: "A file of credentials (.creds).")
        var credentials: String?

        private var flags: [(key: String, value: String)] {
            let all: [(String, String?)] = [
                ("channel", channel), ("pattern", pattern), ("direction", direction), ("delivery", delivery),
                ("delay", delay), ("start", start), ("replicas", replicas), ("machine", machine), ("prefix", prefix),
                ("credentials", credentials),
            ]
            return all.compactMap { key, value in value.map { (key, $0) } }
        }

        private func check() throws {
            if config != nil, let flag = flags.first?.key ?? (server.isEmpty ? nil : "server") {
                throw ValidationError(
                    "--config and --\(flag): the file says all; write it there, or leave the file out.")
            }
            if config == nil, server.isEmpty || channel == nil {
                throw ValidationError("give --config FILE, or --server and --channel.")
            }
        }

        /// Reads and checks it.
        func read() throws -> BridgeConfiguration {
            try check()
            let configuration =
                if let config { try BridgeConfiguration(contentsOf: config) } else {
                    try BridgeConfiguration(flags: flags, servers: server)
                }
            try configuration.checkServers()
            return configuration
        }
    }
#endif
