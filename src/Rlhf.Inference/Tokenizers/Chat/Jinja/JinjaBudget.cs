using System.Globalization;
using System.Runtime.CompilerServices;

namespace Rlhf.Tokenizers.Chat.Jinja;

/// <summary>
/// What one rendering may use. Templates come from strangers: every step, every value made and every level of nesting is counted, and
/// counted before the work is done, so that no template runs long or grows without bound. Counts, not clocks, so that a template that
/// passes on one machine passes on all.
/// </summary>
internal sealed class JinjaBudget
{
    /// <summary>Steps in all: about a second of work. Long real conversations take some ten thousands.</summary>
    public const long MaxSteps = 20_000_000;

    /// <summary>Characters (or a list's items, four characters each) of everything made in all.</summary>
    public const long MaxTotal = 128L << 20;

    /// <summary>Characters of a single value, and of the output.</summary>
    public const int MaxLength = 16 << 20;

    /// <summary>Levels of nesting: expressions in expressions, macros in macros, loops in loops.</summary>
    public const int MaxDepth = 600;

    private long _steps = MaxSteps;
    private long _total = MaxTotal;
    private int _depth;

    /// <summary>Counts work that makes nothing.</summary>
    public void Step(long count = 1)
    {
        if ((_steps -= count) < 0)
            throw new JinjaException("it runs too long (a template has "
                + MaxSteps.ToString("N0", CultureInfo.InvariantCulture) + " steps)", JinjaFault.Limit);
    }

    /// <summary>Counts a value before it is made.</summary>
    /// <param name="length">Its length in characters.</param>
    public void Allocate(long length)
    {
        if (length > MaxLength)
            throw new JinjaException("it makes a value of more than "
                + MaxLength.ToString("N0", CultureInfo.InvariantCulture) + " characters", JinjaFault.Limit);
        if ((_total -= length + 8) < 0)
            throw new JinjaException("all its values together exceed "
                + MaxTotal.ToString("N0", CultureInfo.InvariantCulture) + " characters", JinjaFault.Limit);
        Step(length >> 5);
    }

    /// <summary>Counts a list before it is made.</summary>
    public void AllocateItems(long count)
    {
        Allocate(count * 4);
        Step(count >> 3);
    }

    /// <summary>Goes one level deeper.</summary>
    public void Enter()
    {
        if (++_depth > MaxDepth || !RuntimeHelpers.TryEnsureSufficientExecutionStack())
            throw new JinjaException(
                string.Create(CultureInfo.InvariantCulture, $"it is nested more than {MaxDepth} levels deep"), JinjaFault.Limit);
    }

    /// <summary>Comes back. An error ends the rendering, so nobody needs to come back from one.</summary>
    public void Leave() => _depth--;
}
