namespace Rlhf.Rewards;

/// <summary>One sampled text: the query that was given and the response that the policy wrote.</summary>
/// <param name="Query">Text of the query.</param>
/// <param name="Response">Text of the response alone.</param>
public readonly record struct Completion(string Query, string Response)
{
    /// <summary>Query and response, as the lesson's reward reads them.</summary>
    public string Text => Query + Response;
}

/// <summary>Scores (query, response) batches; higher is better. Any object that can do this can be a reward.</summary>
public interface IRewardFunction
{
    /// <summary>Name used in metrics and reports.</summary>
    string Name { get; }

    /// <summary>One finite score per completion, in the order given.</summary>
    IReadOnlyList<float> Score(IReadOnlyList<Completion> completions);
}
