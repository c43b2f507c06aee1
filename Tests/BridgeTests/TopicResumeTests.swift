#if NATS
    import IPCChannels
    import Testing

    @testable import IPCBridge

    /// Where carriers of topics go on, in each case that a crash can leave.
    @Suite struct TopicResumeTests {
        private let none = (incarnation: UInt64(0), position: UInt64(0), sequence: UInt64(0))

        @Test func anExportGoesOnAfterTheLastMessageOfTheStream() {
            let empty = ExportResume(7, lastSequence: 0, last: nil, checkpoint: none)
            #expect(empty.position == nil && empty.sequence == 0)
            let stored = ExportResume(7, lastSequence: 9, last: (7, 640, false), checkpoint: (7, 512, 8))
            #expect(stored.position == 640 && stored.sequence == 9)
            // Messages that are not carried were passed after it.
            #expect(ExportResume(7, lastSequence: 9, last: (7, 640, false), checkpoint: (7, 1024, 9)).position == 1024)
            // All that was stored was dropped by the limits.
            #expect(ExportResume(7, lastSequence: 9, last: nil, checkpoint: (7, 1024, 9)).position == 1024)
        }

        @Test func anExportOfAChannelThatWasCreatedAnewBeginsAnew() {
            #expect(ExportResume(8, lastSequence: 9, last: (7, 640, false), checkpoint: (7, 640, 9)).position == nil)
        }

        @Test func anExportToAStreamThatWasMadeAnewBeginsAnew() {
            #expect(ExportResume(7, lastSequence: 0, last: nil, checkpoint: (7, 640, 9)).position == nil)
        }

        @Test func aMessageOfWhichOnlyPartsAreStoredIsSentAgain() {
            let resume = ExportResume(7, lastSequence: 9, last: (7, 640, true), checkpoint: (7, 128, 7))
            #expect(resume.position == 639)
        }

        @Test func anImportGoesOnWhereTheLogSays() {
            let origin = MessageOrigin(machine: 1, channel: 7, position: 640, sequence: 4)
            let resume = ImportResume(
                newest: origin, checkpoint: (7, 512, 3), sequences: 1...10, start: .next, isNew: false)
            #expect(resume.first == .sequence(3) && resume.incarnation == 7 && resume.position == 640)
            // The stream was made anew.
            let anew = ImportResume(newest: origin, checkpoint: nil, sequences: 1...3, start: .next, isNew: false)
            #expect(anew.first == .sequence(1) && anew.position == 640)
            let other = ImportResume(
                newest: origin, checkpoint: (7, 512, 3), isOther: true, sequences: 1...10, start: .next, isNew: false)
            #expect(other.first == .sequence(1) && other.position == 640)
        }

        @Test func anImportOfWhichTheLogKeepsNothingGoesOnWhereItsNoteSays() {
            let resume = ImportResume(
                newest: nil, checkpoint: (7, 512, 3), sequences: 1...10, start: .next, isNew: false)
            #expect(resume.first == .sequence(3) && resume.position == 512)
            // It was decided to begin after the last, and nothing came.
            let begun = ImportResume(newest: nil, checkpoint: (0, 0, 10), sequences: 1...10, start: .next, isNew: false)
            #expect(begun.first == .sequence(10))
        }

        @Test func aNewMachineStartsWhereTheRuleSays() {
            func first(_ start: ChannelRule.Start, isNew: Bool = false) -> ImportResume.First {
                ImportResume(newest: nil, checkpoint: nil, sequences: 1...10, start: start, isNew: isNew).first
            }
            #expect(first(.next) == .sequence(10) && first(.next, isNew: true) == .sequence(1))
            #expect(first(.oldest) == .sequence(1) && first(.time(5)) == .time(5))
        }

        @Test func partsMakeAMessageAlsoIfTheyBeginAnew() {
            var parts = TopicParts()
            func add(_ bytes: [UInt8], _ index: Int) -> Bool {
                parts.add(bytes.span.bytes, index: index, of: 2, position: 64)
            }
            #expect(!add([9], 1))
            #expect(!add([1, 2], 0))
            #expect(!add([3, 4], 0))
            #expect(add([5], 1))
            #expect(parts.bytes == [3, 4, 5])
        }

        @Test func aMessageThatIsTooLargeIsCutIntoPartsOfTheServersSize() throws {
            let machine = try #require(Machine("here"))
            var batch = TopicBatch(machine: machine, incarnation: 7, bodyLimit: 1024)
            batch.missed = 3
            let bytes = (0..<2500).map { UInt8(truncatingIfNeeded: $0) }
            let sent = batch.takeAlone(bytes.span.bytes, from: 64, to: 2624)
            #expect(sent.count == 3 && sent.allSatisfy { $0.bytes.count <= 1024 })
            #expect(
                sent.map(\.end) == [64, 64, 2624] && sent.map(\.count) == [0, 0, 1] && sent.map(\.missed) == [3, 0, 0])
            var parts = TopicParts()
            var isWhole = false
            for part in sent {
                let envelope = try Envelope(reading: part.bytes.span.bytes)
                let (index, count, range) = try envelope.part(in: part.bytes.span.bytes)
                isWhole = parts.add(
                    part.bytes.span.bytes.extracting(range), index: index, of: count,
                    position: envelope.records[0].position)
            }
            #expect(isWhole && parts.bytes == bytes)
        }
    }
#endif
