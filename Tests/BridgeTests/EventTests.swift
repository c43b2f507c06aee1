#if NATS
    import Glibc
    import IPC
    import IPCChannels
    import Synchronization
    import TestSupport
    import Testing

    /// Events between machines, by real bridges and a real server.
    @Suite(.serialized, .enabled(if: TestNetwork.serverProgram != nil)) struct EventTests {
        private static let channel = "configuration/changed"
        private static let rule = #"{"name": "configuration/*", "pattern": "event"}"#

        private func make(_ network: TestNetwork, _ names: [String]) async throws -> [(TestMachine, Event)] {
            let machines = try names.map { name in
                let machine = network.machine(name)
                try machine.configure(Self.rule)
                return (machine, try Event.create(Self.channel, in: machine.root))
            }
            for (machine, _) in machines { try machine.startBridge() }
            for (machine, _) in machines { try await waitForCarriers(machine) }
            return machines
        }

        private func waitForCarriers(_ machine: TestMachine) async throws {
            try await wait("\(machine.name) carries: \(machine.log)") {
                let description = try ChannelDescription(ChannelName(Self.channel), in: machine.root)
                return description.participants.count { $0.isAlive && $0.process != getpid() } == 2
            }
        }

        private func pending(_ machine: (TestMachine, Event)) throws -> Int {
            try ChannelDescription(ChannelName(Self.channel), in: machine.0.root).pendingNotices
        }

        private func waitForPending(_ machine: (TestMachine, Event), _ count: Int) async throws {
            try await wait("\(machine.0.name) has \(count) notices: \(machine.0.log)") {
                try pending(machine) >= count
            }
        }

        @Test(.timeLimit(.minutes(10))) func noticesReachAllMachinesOnceAndDoNotReturn() async throws {
            let network = try TestNetwork()
            defer { network.end() }
            let machines = try await make(network, ["one", "two", "three"])
            let notifiers = try machines.map { Box(try $0.1.makeParticipant()) }
            // Each machine's own notices stay, as nobody takes them, and those of the others come.
            for (index, notifier) in notifiers.enumerated() { notifier.value.notify(count: index + 1) }
            for machine in machines { try await waitForPending(machine, 6) }
            for _ in 0..<100 { notifiers[0].value.notify() }
            for machine in machines { try await waitForPending(machine, 106) }
            try await Task.sleep(for: .milliseconds(500))
            for machine in machines { #expect(try pending(machine) == 106, "\(machine.0.name): \(machine.0.log)") }
            // Those who wait take them.
            for _ in 0..<106 { try await notifiers[1].value.wait(until: .after(.seconds(1))) }
            let isMore = notifiers[1].value.tryWait()
            #expect(!isMore)
            #expect(try pending(machines[2]) == 106)
        }

        @Test(.timeLimit(.minutes(10))) func aNoticeEndsAWaitOnAnotherMachineAndLeavesLocalOnesAlone() async throws {
            let network = try TestNetwork()
            defer { network.end() }
            let machines = try await make(network, ["here", "there"])
            let (here, there) = (machines[0].1, machines[1].1)
            for (from, to) in [(here, there), (there, here)] {
                let notifier = try from.makeParticipant()
                async let waits: Void = Self.waitForNotices(to, from)
                try await Task.sleep(for: .milliseconds(200))
                notifier.notify()
                try await waits
            }
            #expect(try pending(machines[0]) == 0 && pending(machines[1]) == 0)
        }

        @Test(.timeLimit(.minutes(10))) func anEventThatWasRemovedAndCreatedAnewIsCarriedAgain() async throws {
            let network = try TestNetwork()
            defer { network.end() }
            let machines = try await make(network, ["here", "there"])
            try Event.remove(Self.channel, in: machines[1].0.root)
            let event = try Event.create(Self.channel, in: machines[1].0.root)
            // It is there as long as somebody uses it.
            let user = try event.makeParticipant()
            try await waitForCarriers(machines[1].0)
            let notifier = try machines[0].1.makeParticipant()
            notifier.notify()
            try await waitForPending((machines[1].0, event), 1)
            _ = consume user
        }

        private static func waitForNotices(_ events: Event...) async throws {
            try await withThrowingTaskGroup(of: Void.self) { group in
                for event in events {
                    group.addTask {
                        let participant = try event.makeParticipant()
                        try await participant.wait(until: .after(.seconds(10)))
                    }
                }
                try await group.waitForAll()
            }
        }

        @Test(.timeLimit(.minutes(10))) func aNoticeToAllEndsAllWaitsOnAllMachines() async throws {
            let network = try TestNetwork()
            defer { network.end() }
            let machines = try await make(network, ["one", "two", "three"])
            let notifier = try machines[1].1.makeParticipant()
            async let waits: Void = Self.waitForNotices(
                machines[0].1, machines[0].1, machines[1].1, machines[2].1, machines[2].1)
            try await Task.sleep(for: .milliseconds(500))
            notifier.notifyAll()
            try await waits
            // None returns.
            let seen = Mutex(0)
            let later = Task {
                let participant = try machines[0].1.makeParticipant()
                try await participant.wait(until: .never)
                seen.withLock { $0 += 1 }
            }
            try await Task.sleep(for: .milliseconds(500))
            later.cancel()
            _ = try? await later.value
            #expect(seen.withLock { $0 } == 0)
            for machine in machines { #expect(try pending(machine) == 0) }
        }

        @Test(.timeLimit(.minutes(10))) func noticesGoOnAfterABridgeOrTheServerWasKilled() async throws {
            let network = try TestNetwork()
            defer { network.end() }
            let machines = try await make(network, ["here", "there"])
            let here = try machines[0].1.makeParticipant()
            let there = try machines[1].1.makeParticipant()
            here.notify()
            try await waitForPending(machines[1], 1)
            machines[0].0.killBridge()
            try machines[0].0.startBridge()
            try await waitForCarriers(machines[0].0)
            // What was carried before is not carried again.
            #expect(try pending(machines[0]) == 1 && pending(machines[1]) == 1)
            here.notify()
            there.notify()
            try await waitForPending(machines[0], 3)
            try await waitForPending(machines[1], 3)
            network.killServer()
            try await Task.sleep(for: .milliseconds(500))
            try network.startServer()
            // Who is not connected when something is told does not learn of it.
            for (machine, _) in machines {
                try await wait("\(machine.name) is connected again: \(machine.log)") {
                    machine.log.contains("times=2")
                }
            }
            here.notify()
            there.notify()
            try await waitForPending(machines[0], 5)
            try await waitForPending(machines[1], 5)
            try await Task.sleep(for: .milliseconds(300))
            #expect(try pending(machines[0]) == 5 && pending(machines[1]) == 5)
        }
    }
#endif
