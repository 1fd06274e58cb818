using System.Text;

namespace Rlhf.Tokenizers;

/// <summary>Learns a WordPiece vocabulary from text by merging the most frequent pairs, as Hugging Face's trainer does.</summary>
public static class WordPieceTrainer
{
    private const string Prefix = "##";

    /// <summary>Learns a vocabulary: [PAD] [UNK] [CLS] [SEP] [MASK], the characters, then merged pieces.</summary>
    /// <param name="texts">The texts; read once.</param>
    /// <param name="vocabSize">Pieces in all, special tokens included. Fewer come out when no more pairs repeat.</param>
    /// <param name="normalizer">What is done to the text first; null is BERT's way, with lower-casing.</param>
    /// <param name="minFrequency">How often a pair must occur to become a piece; default 2.</param>
    /// <param name="alphabetLimit">
    /// Most characters kept, the most frequent first; words with others are unknown. Default 1000.
    /// </param>
    /// <param name="modelMaxLength">Longest input of the model that the tokenizer is for; default 512.</param>
    /// <param name="tokenizerClass">Class that transformers opens the files with; default <c>DistilBertTokenizer</c>.</param>
    /// <param name="cancellationToken">Stops the work.</param>
    /// <exception cref="ArgumentException">The vocabulary size has no room for the special tokens and the characters.</exception>
    public static WordPieceTokenizer Train(
        IEnumerable<string> texts, int vocabSize, BertNormalizer? normalizer = null, int minFrequency = 2,
        int alphabetLimit = 1000, int modelMaxLength = 512, string tokenizerClass = "DistilBertTokenizer",
        CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(texts);
        normalizer ??= new();
        string[] specialTokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];
        var words = new WordCounter(specialTokens);
        foreach (var text in texts)
        {
            cancellationToken.ThrowIfCancellationRequested();
            foreach (var (from, to) in words.Between(text))
            {
                var normalized = normalizer.Normalize(text.AsSpan(from, to - from));
                for (int at = 0; BertNormalizer.NextWord(normalized, at, out int start, out int end); at = end)
                    words.Count(normalized.AsSpan(start, end - start));
            }
        }

        var counted = words.InOrder().Select(w => (Runes: w.Word.EnumerateRunes().ToArray(), w.Count)).ToList();
        var kept = Alphabet(counted, alphabetLimit);
        counted.RemoveAll(w => !w.Runes.All(kept.Contains));
        var continuing = counted.SelectMany(w => w.Runes.Skip(1)).Distinct().Order();
        List<string> alphabet =
            [.. specialTokens, .. kept.Order().Select(r => r.ToString()), .. continuing.Select(r => Prefix + r)];
        if (vocabSize < alphabet.Count)
            throw new ArgumentException(
                $"The special tokens and the characters of these texts are {alphabet.Count} pieces, more than {vocabSize}.",
                nameof(vocabSize));
        var ids = alphabet.Select((piece, id) => (piece, id)).ToDictionary(x => x.piece, x => x.id, StringComparer.Ordinal);
        var trainer = new PairTrainer(alphabet);
        foreach (var (runes, count) in counted)
            trainer.AddWord(runes.Select((r, i) => ids[i == 0 ? r.ToString() : Prefix + r]).ToArray(), count);
        trainer.Train(vocabSize, minFrequency, (left, right) => left + right[Prefix.Length..], cancellationToken);

        var vocabulary = trainer.Vocabulary.Select((piece, id) => (piece, id))
            .ToDictionary(x => x.piece, x => x.id, StringComparer.Ordinal);
        return new(vocabulary, new TokenizerSettings
        {
            SpecialTokens = SpecialTokens.Bert,
            AddedTokens = [.. specialTokens.Select(t => new AddedToken(t, vocabulary[t]))],
            Template = SequenceTemplate.Bert(vocabulary["[CLS]"], vocabulary["[SEP]"]),
            ModelMaxLength = modelMaxLength,
            TokenizerClass = tokenizerClass,
        }, normalizer);
    }

    private static HashSet<Rune> Alphabet(List<(Rune[] Runes, long Count)> words, int limit)
    {
        var counts = new Dictionary<Rune, long>();
        foreach (var (runes, count) in words)
            foreach (var rune in runes)
                counts[rune] = counts.GetValueOrDefault(rune) + count;
        return [.. counts.OrderByDescending(x => x.Value).ThenBy(x => x.Key).Take(limit).Select(x => x.Key)];
    }
}
