using Rlhf.Runtime;

namespace Rlhf.Generation;

/// <summary>One query and the response that grows behind it.</summary>
/// <param name="index">Number of the query in its call.</param>
/// <param name="query">Token ids of the query.</param>
/// <param name="maxNewTokens">Most tokens of the response.</param>
/// <param name="random">The row's own stream: one number per sampled token.</param>
/// <param name="chooser">Chooses its tokens.</param>
internal sealed class ResponseRow(int index, int[] query, int maxNewTokens, RandomStream random, TokenChooser chooser)
{
    private readonly int[] text = [.. query, .. new int[maxNewTokens]];
    private readonly float[] logprobs = new float[maxNewTokens];
    private readonly float[] values = new float[maxNewTokens];
    private readonly List<IReadOnlyList<(int Id, float Logprob)>> top = [];

    public int Index => index;

    public RandomStream Random => random;

    public TokenChooser Chooser => chooser;

    public int QueryLength => query.Length;

    public int[] Query => query;

    /// <summary>Response tokens so far.</summary>
    public int ResponseLength { get; private set; }

    /// <summary>The response ended with an end token.</summary>
    public bool EndedByEos { get; private set; }

    /// <summary>Whoever reads the response wants no more of it.</summary>
    public bool IsEnough { get; set; }

    /// <summary>Why the response cannot be continued; null: it can.</summary>
    public Exception? Failure { get; private set; }

    public bool IsFinished => EndedByEos || IsEnough || Failure is not null || ResponseLength == maxNewTokens;

    /// <summary>Query and response so far.</summary>
    public ReadOnlySpan<int> Text => text.AsSpan(0, query.Length + ResponseLength);

    public int LastToken => text[query.Length + ResponseLength - 1];

    /// <summary>Logprob of the last token.</summary>
    public float LastLogprob => logprobs[ResponseLength - 1];

    /// <summary>How many of the likeliest tokens are kept for each token; null: logprobs are not asked for.</summary>
    public int? TopLogprobs { get; init; }

    /// <summary>Positions that a cache must hold: all but the last token, whose successor is never asked for.</summary>
    public int CachedLength => text.Length - 1;

    public int[] Response => text.AsSpan(query.Length, ResponseLength).ToArray();

    public float[] Logprobs => logprobs[..ResponseLength];

    public float[] Values => values[..ResponseLength];

    /// <summary>The newest token with its logprob and the likeliest ones in its place, where they are asked for.</summary>
    public TokenLogprobs LastScore => new(LastToken, LastLogprob, TopLogprobs is null ? [] : top[^1]);

    /// <summary>Keeps the likeliest tokens in the place of the next one.</summary>
    public void AddTop(IReadOnlyList<(int Id, float Logprob)> likeliest) => top.Add(likeliest);

    /// <summary>Ends the response for a reason.</summary>
    public void Fail(Exception why) => Failure = why;

    public void Append(int token, float logprob, float value)
    {
        text[query.Length + ResponseLength] = token;
        logprobs[ResponseLength] = logprob;
        values[ResponseLength] = value;
        ResponseLength++;
        EndedByEos = chooser.Ends(token);
    }
}
