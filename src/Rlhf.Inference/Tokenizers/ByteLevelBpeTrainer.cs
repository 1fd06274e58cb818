using System.Text;
using Rlhf.Tokenizers.Pipeline.Patterns;

namespace Rlhf.Tokenizers;

/// <summary>Learns a byte-level BPE vocabulary from text. The same texts give the same tokenizer, on any machine.</summary>
public static class ByteLevelBpeTrainer
{
    /// <summary>Learns a vocabulary: the 256 bytes, then merges, then the special tokens, which is GPT-2's order.</summary>
    /// <param name="texts">The texts; read once.</param>
    /// <param name="vocabSize">
    /// Tokens in all, special ones included: at least 256 and the special tokens. Fewer come out when no more pairs repeat.
    /// </param>
    /// <param name="specialTokens">
    /// Special tokens, each at least two characters; null is GPT-2's &lt;|endoftext|&gt;. The first one begins and ends texts.
    /// </param>
    /// <param name="minFrequency">How often a pair must occur to become a token; default 2.</param>
    /// <param name="modelMaxLength">Longest input of the model that the tokenizer is for; default no limit.</param>
    /// <param name="cancellationToken">Stops the work.</param>
    /// <exception cref="ArgumentException">The vocabulary is too small, or a special token is short or named twice.</exception>
    public static ByteLevelBpeTokenizer Train(
        IEnumerable<string> texts, int vocabSize, IReadOnlyList<string>? specialTokens = null,
        int minFrequency = 2, int modelMaxLength = int.MaxValue, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(texts);
        specialTokens ??= [SpecialTokens.Gpt2.Eos!];
        var (vocabulary, merges) = Learn(texts, new Gpt2Words(), vocabSize, specialTokens, minFrequency, cancellationToken);
        var first = specialTokens.FirstOrDefault();
        return new(vocabulary, merges, new TokenizerSettings
        {
            SpecialTokens = new() { Bos = first, Eos = first, Unk = first, Additional = [.. specialTokens.Skip(1)] },
            AddedTokens = [.. specialTokens.Select(t => new AddedToken(t, vocabulary[t]))],
            ModelMaxLength = modelMaxLength,
            TokenizerClass = "GPT2Tokenizer",
        });
    }

    /// <summary>The vocabulary and its merges.</summary>
    /// <param name="texts">The texts; read once.</param>
    /// <param name="splitter">Cuts text into the words within which merges are learnt.</param>
    /// <param name="vocabSize">Tokens in all.</param>
    /// <param name="specialTokens">The last tokens.</param>
    /// <param name="minFrequency">How often a pair must occur to become a token.</param>
    /// <param name="cancellationToken">Stops the work.</param>
    internal static (Dictionary<string, int> Vocabulary, List<(string Left, string Right)> Merges) Learn(
        IEnumerable<string> texts, WordMatcher splitter, int vocabSize, IReadOnlyList<string> specialTokens, int minFrequency,
        CancellationToken cancellationToken)
    {
        WordCounter.CheckSpecialTokens(specialTokens);
        if (vocabSize < 256 + specialTokens.Count)
            throw new ArgumentException(
                $"A byte-level vocabulary has 256 tokens and {specialTokens.Count} special ones at least, not {vocabSize}.",
                nameof(vocabSize));
        var words = new WordCounter(specialTokens);
        foreach (var text in texts)
        {
            cancellationToken.ThrowIfCancellationRequested();
            foreach (var range in words.Between(text))
                for (int at = range.Start; at < range.End;)
                {
                    int end = at + splitter.WordEnd(text.AsSpan(at, range.End - at), 0);
                    words.Count(text.AsSpan(at, end - at));
                    at = end;
                }
        }

        var order = ByteLevel.VocabularyOrder.ToArray();
        var idOfByte = new int[256];
        for (int id = 0; id < 256; id++)
            idOfByte[order[id]] = id;
        var trainer = new PairTrainer(order.Select(b => ByteLevel.Symbol(b).ToString()));
        foreach (var (word, count) in words.InOrder())
            trainer.AddWord(Encoding.UTF8.GetBytes(word).Select(b => idOfByte[b]).ToArray(), count);
        trainer.Train(vocabSize - specialTokens.Count, minFrequency, string.Concat, cancellationToken);

        var vocabulary = trainer.Vocabulary.Concat(specialTokens).Select((token, id) => (token, id))
            .ToDictionary(x => x.token, x => x.id, StringComparer.Ordinal);
        var merges = trainer.Merges.Select(m => (trainer.Vocabulary[m.Left], trainer.Vocabulary[m.Right])).ToList();
        return (vocabulary, merges);
    }
}
