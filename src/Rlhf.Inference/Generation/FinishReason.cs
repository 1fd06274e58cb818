namespace Rlhf.Generation;

/// <summary>Why a completion ended.</summary>
public enum FinishReason
{
    /// <summary>The model chose its end token, or a stop text came up.</summary>
    Stop,

    /// <summary>It has as many tokens as were asked for.</summary>
    Length,
}
