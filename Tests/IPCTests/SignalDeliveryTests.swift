import Glibc
import IPC
import TestSupport
import Testing

/// Signals arrive, whatever threads a program has and however it was built.
@Suite(.timeLimit(.minutes(5))) struct SignalDeliveryTests {
    /// The peer says `ready`, gets a signal, says so, and ends in order.
    private func expectArrival(_ program: String, _ role: String) throws {
        for signal in [Signal.terminate, .interrupt] {
            let peer = try Peer(product(program), [role])
            #expect(try peer.said() == "ready\n")
            try peer.child.handle.send(signal)
            let (status, text) = try peer.finish(within: .seconds(20))
            #expect(status == .exited(0) && text == "got \(signal)\n", "\(program) \(role)")
        }
    }

    @Test(arguments: ["loop", "after-pipeline", "foundation", "dispatch"])
    func anAsynchronousMainGetsThem(role: String) throws { try expectArrival("AsyncPeer", role) }

    @Test(arguments: ["wait", "after-pipeline"])
    func topLevelCodeGetsThem(role: String) throws { try expectArrival("TopLevelPeer", role) }

    @Test func othersChildrenBlockAndIgnoreNothingBecauseOfASource() throws {
        let (_, text) = try Peer(product("AsyncPeer"), ["foundation-child"]).finish(within: .seconds(20))
        let masks = text.split(separator: "\n").compactMap { UInt64($0.split(separator: "\t").last!, radix: 16) }
        // SIGINT, SIGUSR1, SIGTERM.
        let wanted: UInt64 = 1 << 1 | 1 << 9 | 1 << 14
        #expect(masks.count == 3 && masks.allSatisfy { $0 & wanted == 0 }, "\(text)")
    }

    @Test func eachSourceGetsThemAndTheLastGivesBackWhatWasThere() throws {
        let (status, text) = try Peer.role("signal-sources").finish(within: .seconds(20))
        #expect(
            text == """
                SIGUSR1 SIGUSR1 true true 0
                SIGUSR2 SIGUSR2 true true 0
                true SIGTERM
                one left true true
                SIGUSR1
                a sequence left true
                none left true true

                """)
        #expect(status == .exited(0))
    }

    @Test func aRefusedSourceChangesNothing() throws {
        let (status, text) = try Peer.role("signal-refused").finish(within: .seconds(20))
        let numbers = [0, -1, Int32.min, 9, 19, 32, 33, 65, 999, Int32.max]
        #expect(
            text == numbers.map { "\($0) invalidArgument true true\n" }.joined() + "limitReached true true\nend\n")
        #expect(status == .exited(0))
    }

    @Test func aCallThatNeverWaitsDoesNotWaitForASignalThatAnotherTook() throws {
        let (status, text) = try Peer.role("signal-two-takers").finish(within: .seconds(100))
        #expect(status == .exited(0) && text == "done\n")
    }

    @Test func standardSignalsAreOneAndLostRealTimeOnesAreTold() throws {
        let (status, text) = try Peer.role("signal-overflow").finish(within: .seconds(20))
        #expect(status == .exited(0) && text == "2 20000 true true true\n")
    }

    @Test func aChildOfForkHasNoPart() throws {
        let (status, text) = try Peer.role("signal-fork").finish(within: .seconds(20))
        #expect(text == "child ended by 15 parent got nothing\nsecond child 0\nparent got SIGTERM\n")
        #expect(status == .exited(0))
    }

    @Test func aFaultEndsTheProgramThatReceivesItsSignal() throws {
        let (status, text) = try Peer.role("signal-fault").finish(within: .seconds(20))
        #expect(status == .signaled(.segmentationFault) && text == "sent SIGSEGV\n")
    }
}
