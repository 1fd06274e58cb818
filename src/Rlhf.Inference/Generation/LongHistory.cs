namespace Rlhf.Generation;

/// <summary>What becomes of a conversation that does not fit the model together with its answer.</summary>
public enum LongHistory
{
    /// <summary>It is refused.</summary>
    Refuse,

    /// <summary>
    /// Its oldest exchanges are left out, each a user's message and all up to the next one; system messages at the beginning stay. It is
    /// refused when the last exchange alone does not fit.
    /// </summary>
    DropOldest,
}
