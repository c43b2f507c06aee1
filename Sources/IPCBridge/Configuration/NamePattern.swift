#if NATS
    import IPC
    import IPCChannels

    /// Which channels a rule is for: a name in which `*` stands for any characters within one word, and the word `**` for one or more
    /// words. `market/**` is `market/quotes` and `market/eu/quotes`, but not `market`.
    public struct NamePattern: Hashable, Sendable, CustomStringConvertible {
        public let description: String
        private let words: [[UInt8]]

        /// - Returns: Nil if no channel could have such a name.
        init?(_ text: String) {
            let words = text.utf8.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false).map(Array.init)
            for word in words where word != Self.manyWords {
                // With a letter for each star, it has to be a word of a channel's name.
                let example = String(decoding: word.map { $0 == Self.star ? UInt8(ascii: "a") : $0 }, as: UTF8.self)
                guard (try? ChannelName(example)) != nil else { return nil }
            }
            guard text.utf8.count <= 200 else { return nil }
            description = text
            self.words = words
        }

        private static let star = UInt8(ascii: "*")
        private static let manyWords = [star, star]

        /// Whether a channel has such a name.
        public func matches(_ name: ChannelName) -> Bool {
            let given = name.description.utf8.split(separator: UInt8(ascii: "/")).map(Array.init)
            return Self.matches(
                words[...], given[...], many: { $0 == Self.manyWords }, isLong: true, one: Self.word)
        }

        /// Whether all channels that match another pattern match this one, as far as the words tell. What `*` and `**` of the other one
        /// stand for, only `*` and `**` of this one can be for.
        func includes(_ other: NamePattern) -> Bool {
            Self.matches(
                words[...], other.words[...], many: { $0 == Self.manyWords }, isLong: true,
                one: { $1 != Self.manyWords && Self.word($0, $1) })
        }

        /// Whether it is the name of a queue of dead letters.
        var isOfDeadLetters: Bool {
            words.count > 1 && words.last == Array("dead-letters".utf8) && !words.joined().contains(Self.star)
        }

        /// Why it is for no channel that can be carried; nil if it may be for some.
        var reasonForNone: String? {
            if words.count > 1, words[0] == Array("bridge".utf8) { return "the channels of bridges are not carried" }
            if words.count > 1, words.last == Array("dead-letters".utf8), !isOfDeadLetters {
                return "dead letters are carried only by a rule with their name, without a pattern"
            }
            return nil
        }

        private static func word(_ pattern: [UInt8], _ word: [UInt8]) -> Bool {
            matches(pattern[...], word[...], many: { $0 == star }, isLong: false, one: ==)
        }

        /// Whether elements match a pattern in which some elements stand for many: for at least one if `isLong`.
        ///
        /// It takes at most as many steps as the product of both lengths: of the elements that stand for many, only the last one is
        /// tried again.
        private static func matches<Element>(
            _ pattern: ArraySlice<Element>, _ text: ArraySlice<Element>, many: (Element) -> Bool, isLong: Bool,
            one: (Element, Element) -> Bool
        ) -> Bool {
            var (place, position) = (pattern.startIndex, text.startIndex)
            var again: (place: Int, position: Int)?
            while true {
                if place < pattern.endIndex, many(pattern[place]) {
                    if !isLong || position < text.endIndex {
                        position += isLong ? 1 : 0
                        place += 1
                        again = (place, position)
                        continue
                    }
                } else if place < pattern.endIndex, position < text.endIndex, one(pattern[place], text[position]) {
                    (place, position) = (place + 1, position + 1)
                    continue
                } else if place == pattern.endIndex, position == text.endIndex {
                    return true
                }
                guard let last = again, last.position < text.endIndex else { return false }
                again = (last.place, last.position + 1)
                (place, position) = (last.place, last.position + 1)
            }
        }
    }
#endif
