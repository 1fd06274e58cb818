namespace Rlhf.Generation;

/// <summary>
/// What stands between a model's logits and the choice of a token: each function changes one row of logits [V] in place and
/// has no other effect. A forbidden token's logit becomes minus infinity.
/// </summary>
/// <remarks>
/// Names, order and results are those of transformers' logits processors. Rows may already hold minus infinity, but neither
/// NaN nor plus infinity. Reductions run in double precision.
/// </remarks>
public static class LogitsProcessors
{
    /// <summary>
    /// Applies every setting of <paramref name="config"/> that is on, in transformers' order: repetition penalty,
    /// no-repeat n-gram, minimum lengths; and when sampling: temperature, top-k, top-p, min-p, typical-p.
    /// </summary>
    /// <param name="logits">One row [V], changed in place.</param>
    /// <param name="text">Token ids of query and response so far.</param>
    /// <param name="queryLength">How many of them are the query's.</param>
    /// <param name="config">The settings; greedy decoding uses those of the first group only.</param>
    /// <param name="endTokens">Tokens that end a response; the minimum lengths forbid them.</param>
    public static void Apply(
        Span<float> logits, ReadOnlySpan<int> text, int queryLength, GenerationConfig config, ReadOnlySpan<int> endTokens)
    {
        if (config.RepetitionPenalty != 1)
            RepetitionPenalty(logits, text, config.RepetitionPenalty);
        if (config.NoRepeatNgramSize > 0)
            NoRepeatNgram(logits, text, config.NoRepeatNgramSize);
        if (text.Length < config.MinLength || text.Length - queryLength < config.MinNewTokens)
            Forbid(logits, endTokens);
        if (!config.DoSample)
            return;
        if (config.Temperature != 1)
            Temperature(logits, config.Temperature);
        if (config.TopK > 0)
            TopK(logits, config.TopK);
        if (config.TopP < 1)
            TopP(logits, config.TopP);
        if (config.MinP is > 0)
            MinP(logits, config.MinP.Value);
        if (config.TypicalP < 1)
            TypicalP(logits, config.TypicalP);
    }

    /// <summary>Divides positive and multiplies negative logits of tokens in <paramref name="text"/>, each token once.</summary>
    /// <param name="logits">One row [V].</param>
    /// <param name="text">Token ids so far, all below V.</param>
    /// <param name="penalty">Above 1 discourages repetition, below 1 encourages it.</param>
    public static void RepetitionPenalty(Span<float> logits, ReadOnlySpan<int> text, double penalty)
    {
        float factor = (float)penalty;
        var seen = new HashSet<int>(text.Length);
        foreach (int token in text)
            if (seen.Add(token))
                logits[token] = logits[token] < 0 ? logits[token] * factor : logits[token] / factor;
    }

    /// <summary>Forbids every token that would complete an n-gram which <paramref name="text"/> already holds.</summary>
    /// <param name="logits">One row [V].</param>
    /// <param name="text">Token ids so far, all below V.</param>
    /// <param name="size">n, at least 1; with 1 no token occurs twice.</param>
    public static void NoRepeatNgram(Span<float> logits, ReadOnlySpan<int> text, int size)
    {
        if (text.Length < size)
            return;
        var prefix = text[(text.Length - size + 1)..];
        for (int i = 0; i + size <= text.Length; i++)
            if (text.Slice(i, size - 1).SequenceEqual(prefix))
                logits[text[i + size - 1]] = float.NegativeInfinity;
    }

    /// <summary>Forbids the given tokens; ids outside the row are ignored.</summary>
    public static void Forbid(Span<float> logits, ReadOnlySpan<int> tokens)
    {
        foreach (int token in tokens)
            if ((uint)token < (uint)logits.Length)
                logits[token] = float.NegativeInfinity;
    }

    /// <summary>Divides the logits by a temperature above 0.</summary>
    public static void Temperature(Span<float> logits, double temperature)
    {
        float divisor = (float)temperature;
        foreach (ref float logit in logits)
            logit /= divisor;
    }

    /// <summary>Keeps the <paramref name="k"/> most likely tokens and all that equal the last of them.</summary>
    /// <param name="logits">One row [V].</param>
    /// <param name="k">At least 1; V and more keep all.</param>
    public static void TopK(Span<float> logits, int k)
    {
        if (k >= logits.Length)
            return;
        var largest = new PriorityQueue<float, float>(k);
        foreach (float logit in logits)
            if (largest.Count < k)
                largest.Enqueue(logit, logit);
            else if (logit > largest.Peek())
                largest.EnqueueDequeue(logit, logit);
        KeepAtLeast(logits, largest.Peek());
    }

    /// <summary>
    /// Keeps the most likely tokens, in falling order, until together they reach the probability <paramref name="p"/>. Among
    /// equal tokens the one with the higher id comes first, as in transformers' sorting.
    /// </summary>
    /// <param name="logits">One row [V].</param>
    /// <param name="p">From 0 (the most likely token alone) to 1 (all).</param>
    /// <param name="minTokensToKeep">At least this many tokens are kept.</param>
    public static void TopP(Span<float> logits, double p, int minTokensToKeep = 1)
    {
        if (p >= 1)
            return;
        var ranks = new double[logits.Length];
        float max = Categorical.MaxOf(logits);
        for (int token = 0; token < ranks.Length; token++)
            ranks[token] = (double)max - logits[token];
        KeepFirst(logits, ranks, p, minTokensToKeep, keepTies: false);
    }

    /// <summary>Keeps tokens that are at least <paramref name="p"/> times as likely as the most likely one.</summary>
    public static void MinP(Span<float> logits, double p)
    {
        double lowest = Categorical.MaxOf(logits) + Math.Log(p);
        foreach (ref float logit in logits)
            if (logit < lowest)
                logit = float.NegativeInfinity;
    }

    /// <summary>
    /// Locally typical sampling (Meister et al. 2022): keeps the tokens whose surprise is nearest to the entropy until together
    /// they reach the probability <paramref name="mass"/>, and all that are as near as the last of them.
    /// </summary>
    public static void TypicalP(Span<float> logits, double mass)
    {
        var softmax = new Categorical(logits, new double[Categorical.BlockCount(logits.Length)]);
        var weights = new float[logits.Length];
        softmax.Weights(weights);
        double entropy = 0;
        for (int token = 0; token < logits.Length; token++)
            if (weights[token] > 0)
                entropy -= weights[token] / softmax.Sum * softmax.Logprob(token);
        var ranks = new double[logits.Length];
        for (int token = 0; token < logits.Length; token++)
            ranks[token] = Math.Abs(softmax.Logprob(token) + entropy);
        KeepFirst(logits, ranks, mass, 1, keepTies: true);
    }

    private static void KeepAtLeast(Span<float> logits, float lowest)
    {
        foreach (ref float logit in logits)
            if (logit < lowest)
                logit = float.NegativeInfinity;
    }

    /// <summary>Keeps tokens in the order of rising ranks until together they reach a probability.</summary>
    /// <remarks>Tokens fall into bins by rank, so that only the bin where the probability is reached has to be sorted.</remarks>
    private static void KeepFirst(
        Span<float> logits, ReadOnlySpan<double> ranks, double probability, int minTokensToKeep, bool keepTies)
    {
        // Ranks are differences of logits: what is further away than this has no probability worth sorting.
        const double farthest = 40;
        const int bins = 4096;
        static int Bin(double rank) => (int)(Math.Min(rank, farthest) * ((bins - 1) / farthest));

        var softmax = new Categorical(logits, new double[Categorical.BlockCount(logits.Length)]);
        double target = probability * softmax.Sum;
        var weights = new float[logits.Length];
        softmax.Weights(weights);
        var binWeights = new double[bins];
        var binCounts = new int[bins];
        for (int token = 0; token < weights.Length; token++)
        {
            int bin = Bin(ranks[token]);
            binWeights[bin] += weights[token];
            binCounts[bin]++;
        }
        int last = 0, kept = 0;
        double reached = 0;
        for (; last < bins - 1 && (reached + binWeights[last] < target || kept + binCounts[last] < minTokensToKeep); last++)
        {
            reached += binWeights[last];
            kept += binCounts[last];
        }
        var border = new List<(double Rank, int Token)>(binCounts[last]);
        for (int token = 0; token < weights.Length; token++)
            if (Bin(ranks[token]) is var bin && bin > last)
                logits[token] = float.NegativeInfinity;
            else if (bin == last)
                border.Add((ranks[token], -token));
        border.Sort();
        double lastRank = -1;
        foreach (var (rank, negated) in border)
        {
            if (reached < target || kept < minTokensToKeep)
                lastRank = rank;
            else if (!keepTies || rank > lastRank)
                logits[-negated] = float.NegativeInfinity;
            reached += weights[-negated];
            kept++;
        }
    }
}
