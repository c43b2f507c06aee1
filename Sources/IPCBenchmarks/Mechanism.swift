import IPCChannels

/// A way for processes to exchange data, as `ipc bench` names it.
public enum Mechanism: String, CaseIterable, Sendable {
    case pipe
    case fifo
    case unixStream = "unix-stream"
    case unixDatagram = "unix-datagram"
    case unixSeqpacket = "unix-seqpacket"
    case tcp
    case udp
    case messageQueue = "message-queue"
    case signal
    case eventfd
    case shmSemaphore = "shm-semaphore"
    case shmFutex = "shm-futex"
    case shmSpin = "shm-spin"
    case mappedFile = "mapped-file"
    case topic
    case topicShared = "topic-shared"
    case topicWake = "topic-wake"
    case topicZeroCopy = "topic-zero-copy"
    case workQueue = "work-queue"
    case service
    case latest
    case event
}

/// What the guide's table says of a mechanism, beside the figures.
public struct MechanismFacts: Sendable {
    public let direction: String
    public let relation: String
    /// System calls per message, sender's and receiver's together, when nobody has to sleep or be woken.
    public let systemCalls: String
    /// Copies of the payload per message, by the kernel.
    public let copies: Int
    public let complexity: String
    public let suits: String
}

extension Mechanism {
    public var facts: MechanismFacts {
        switch self {
        case .pipe:
            MechanismFacts(
                direction: "one way", relation: "parent and child", systemCalls: "2", copies: 2, complexity: "low",
                suits: "simple data transfer")
        case .fifo:
            MechanismFacts(
                direction: "one way", relation: "any two", systemCalls: "2", copies: 2, complexity: "low",
                suits: "unrelated processes, shell scripts")
        case .unixStream:
            MechanismFacts(
                direction: "both ways", relation: "any, one machine", systemCalls: "2", copies: 2, complexity: "medium",
                suits: "client and server on one machine")
        case .unixDatagram:
            MechanismFacts(
                direction: "both ways", relation: "any, one machine", systemCalls: "2", copies: 2, complexity: "medium",
                suits: "whole messages, many senders")
        case .unixSeqpacket:
            MechanismFacts(
                direction: "both ways", relation: "any, one machine", systemCalls: "2", copies: 2, complexity: "medium",
                suits: "whole messages, and a notice when the peer ends")
        case .tcp:
            MechanismFacts(
                direction: "both ways", relation: "any, also remote", systemCalls: "2", copies: 2, complexity: "medium",
                suits: "network communication")
        case .udp:
            MechanismFacts(
                direction: "both ways", relation: "any, also remote", systemCalls: "2", copies: 2, complexity: "medium",
                suits: "network messages that may be lost")
        case .messageQueue:
            MechanismFacts(
                direction: "both ways", relation: "any, one machine", systemCalls: "2", copies: 2, complexity: "medium",
                suits: "asynchronous messages with priorities")
        case .signal:
            MechanismFacts(
                direction: "one way", relation: "any, same user", systemCalls: "2", copies: 0, complexity: "low",
                suits: "notification of events")
        case .eventfd:
            MechanismFacts(
                direction: "both ways", relation: "inherited or passed", systemCalls: "2", copies: 0, complexity: "low",
                suits: "notification that can be polled")
        case .shmSemaphore:
            MechanismFacts(
                direction: "both ways", relation: "any, one machine", systemCalls: "0 to 4", copies: 0,
                complexity: "high", suits: "large data, producer and consumer")
        case .shmFutex:
            MechanismFacts(
                direction: "both ways", relation: "any, one machine", systemCalls: "0 to 2", copies: 0,
                complexity: "high", suits: "large data at low latency")
        case .shmSpin:
            MechanismFacts(
                direction: "both ways", relation: "any, one machine", systemCalls: "0", copies: 0, complexity: "high",
                suits: "lowest latency, with one core per waiter")
        case .mappedFile:
            MechanismFacts(
                direction: "both ways", relation: "any, one machine", systemCalls: "0", copies: 0, complexity: "high",
                suits: "large data that outlives the processes")
        case .topic:
            MechanismFacts(
                direction: "one way", relation: "any, one machine", systemCalls: "0", copies: 0, complexity: "low",
                suits: "one writer's messages to any number of readers")
        case .topicShared:
            MechanismFacts(
                direction: "one way", relation: "any, one machine", systemCalls: "0", copies: 0, complexity: "low",
                suits: "many writers' messages to any number of readers")
        case .topicWake:
            MechanismFacts(
                direction: "one way", relation: "any, one machine", systemCalls: "0 to 3", copies: 0, complexity: "low",
                suits: "a topic whose readers sleep")
        case .topicZeroCopy:
            MechanismFacts(
                direction: "one way", relation: "any, one machine", systemCalls: "0", copies: 0, complexity: "low",
                suits: "large data of which each reader reads a part")
        case .workQueue:
            MechanismFacts(
                direction: "one way", relation: "any, one machine", systemCalls: "0", copies: 0, complexity: "low",
                suits: "jobs shared among workers; they survive a worker's death")
        case .service:
            MechanismFacts(
                direction: "both ways", relation: "any, one machine", systemCalls: "0", copies: 0, complexity: "low",
                suits: "requests, replies and typed errors")
        case .latest:
            MechanismFacts(
                direction: "one way", relation: "any, one machine", systemCalls: "0", copies: 0, complexity: "low",
                suits: "values of which only the newest counts")
        case .event:
            MechanismFacts(
                direction: "both ways", relation: "any, one machine", systemCalls: "0", copies: 0, complexity: "low",
                suits: "notification without a payload")
        }
    }

    /// A signal and an eventfd carry one word at most.
    public var fixedPayload: Int? { [.signal, .eventfd, .event].contains(self) ? 8 : nil }

    /// Whether messages may be lost on the way.
    var isLossy: Bool { self == .udp }

    /// Whether waiting is polling, so that two processes on one core only hinder each other.
    public var isPolled: Bool { self == .shmSpin || self == .mappedFile || (isChannel && self != .topicWake) }

    /// Whether it is one of the patterns of `IPCChannels`.
    var isChannel: Bool { pattern != nil }

    var pattern: ChannelPattern? {
        switch self {
        case .topic, .topicShared, .topicWake, .topicZeroCopy: .topic
        case .workQueue: .workQueue
        case .service: .service
        case .latest: .latest
        case .event: .event
        default: nil
        }
    }

    /// Whether the same is there in C.
    /// Whether it can be waited for without a thread. Where both sides poll, there is nothing to wait for.
    public var hasAsync: Bool { ![.shmSpin, .mappedFile].contains(self) }
    public var hasTwin: Bool { !isChannel || [.topic, .topicShared, .topicWake].contains(self) }

    /// Whether all that is sent is received, and read: else a rate would mean nothing.
    public var hasThroughput: Bool { self != .topicZeroCopy && self != .latest }
}
