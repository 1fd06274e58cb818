namespace Rlhf.Training.Ppo;

/// <summary>Behavior of TRL 0.11.4 that is reproduced only to prove parity.</summary>
internal sealed record TrlBehavior
{
    /// <summary>Gradient clipping acts on the first optimizer step of the trainer's life alone.</summary>
    public bool ClipsFirstStepOnly { get; init; }

    /// <summary>
    /// Whitened rewards are not 0 on padding, and what they are there flows into the advantages of shorter rows.
    /// </summary>
    public bool WhitensPadding { get; init; }

    /// <summary>With a tokenizer that pads on the left, positions count the padding.</summary>
    public bool PositionsCountPadding { get; init; }
}
