/// The pattern of a channel: who receives its messages.
public enum ChannelPattern: UInt32, CaseIterable, Sendable, CustomStringConvertible {
    case topic = 1
    case workQueue = 2
    case latest = 3
    case event = 4
    case service = 5

    public var description: String {
        switch self {
        case .topic: "topic"
        case .workQueue: "work queue"
        case .latest: "latest value"
        case .event: "event"
        case .service: "service"
        }
    }

    package var withArticle: String { (self == .event ? "an " : "a ") + description }
}
