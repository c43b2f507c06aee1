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
