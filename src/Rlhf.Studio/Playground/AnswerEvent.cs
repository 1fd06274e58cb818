namespace Rlhf.Studio.Playground;

/// <summary>Which model answers.</summary>
public enum Side
{
    /// <summary>The one that training began with.</summary>
    Base,

    /// <summary>The one that training made.</summary>
    Aligned,
}

/// <summary>Something that happens while the models answer.</summary>
public abstract record AnswerEvent;

/// <summary>What is waited for.</summary>
/// <param name="Text">One sentence.</param>
public sealed record Waiting(string Text) : AnswerEvent;

/// <summary>A token was chosen.</summary>
/// <param name="Side">By which model.</param>
/// <param name="Text">Its text; empty for a token that ends the text or is part of a character.</param>
/// <param name="LogRatio">ln of its probability under the aligned model over that under the base model; null: their vocabularies differ.</param>
public sealed record TokenChosen(Side Side, string Text, double? LogRatio) : AnswerEvent;

/// <summary>A conversation was longer than a model reads: it answers without the oldest messages.</summary>
/// <param name="Side">Which model.</param>
/// <param name="Messages">How many it does not see.</param>
public sealed record Forgotten(Side Side, int Messages) : AnswerEvent;

/// <summary>An answer is whole.</summary>
/// <param name="Side">Whose.</param>
/// <param name="Tokens">How many tokens it has.</param>
/// <param name="LogRatio">Sum over its tokens: how much likelier the aligned model finds it than the base model; null: their vocabularies differ.</param>
/// <param name="Reward">Its reward, or null.</param>
/// <param name="Judge">The second scorer's score, or null.</param>
public sealed record Answered(Side Side, int Tokens, double? LogRatio, float? Reward, float? Judge) : AnswerEvent;
