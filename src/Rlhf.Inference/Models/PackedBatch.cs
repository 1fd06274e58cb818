using Rlhf.Runtime.Native;
using static TorchSharp.torch;

namespace Rlhf.Models;

/// <summary>
/// Rows of token ids, one after another without padding: B rows, N tokens in all, row b at [Offsets[b], Offsets[b + 1]).
/// Linear layers see [N, D]; only attention pads, inside itself.
/// </summary>
public sealed class PackedBatch : IDisposable
{
    private readonly long maxPosition, maxTokenType;
    private Tensor? padIndex, packIndex;

    private PackedBatch(int[] offsets, long[] ids, long[] positions, bool[]? keyMask, long[]? tokenTypes, Device device)
    {
        LibTorch.Initialize();
        Offsets = offsets;
        Device = device;
        for (int b = 0; b < RowCount; b++)
            MaxLength = Math.Max(MaxLength, Length(b));
        HostIds = ids;
        maxPosition = positions.Max();
        maxTokenType = tokenTypes?.Max() ?? 0;
        InputIds = Copy(ids, device);
        PositionIds = Copy(positions, device);
        TokenTypeIds = tokenTypes is null ? null : Copy(tokenTypes, device);
        KeyMask = keyMask;
        IsUniform = Enumerable.Range(0, RowCount).All(b => Length(b) == MaxLength);
    }

    /// <summary>Start of each row, and N at the end: B + 1 entries.</summary>
    public int[] Offsets { get; }

    /// <summary>Device of the tensors.</summary>
    public Device Device { get; }

    /// <summary>Token ids [N], int64.</summary>
    public Tensor InputIds { get; }

    /// <summary>Position ids [N], int64.</summary>
    public Tensor PositionIds { get; }

    /// <summary>Token type (segment) ids [N], int64; null means zero everywhere.</summary>
    public Tensor? TokenTypeIds { get; }

    /// <summary>
    /// False where a token may not be attended to (a padding token that was kept in its row); null when all may.
    /// </summary>
    public bool[]? KeyMask { get; }

    /// <summary>
    /// Where the branches of each row begin, counted from the row's first token; null for a row of one text, and where all are that. A row with
    /// branches is several texts: each token sees those before the first branch, and those of its own branch up to itself. Its positions
    /// count from 0 before the first branch, and go on from there in each. Only models that say so read such rows
    /// (<see cref="CausalLM.ReadsBranches"/>).
    /// </summary>
    internal IReadOnlyList<int[]?>? Branches { get; private init; }

    /// <summary>The token ids on the host.</summary>
    public long[] HostIds { get; }

    /// <summary>B, the number of rows.</summary>
    public int RowCount => Offsets.Length - 1;

    /// <summary>N, the number of tokens of all rows.</summary>
    public int TokenCount => Offsets[^1];

    /// <summary>Tokens in the longest row.</summary>
    public int MaxLength { get; }

    /// <summary>The largest position id.</summary>
    internal int MaxPosition => (int)maxPosition;

    /// <summary>All rows have the same length, so that attention needs no padding.</summary>
    public bool IsUniform { get; }

    /// <summary>Tokens of row <paramref name="row"/>.</summary>
    public int Length(int row) => Offsets[row + 1] - Offsets[row];

    /// <summary>Packs rows of token ids; positions count from 0 in each row.</summary>
    /// <param name="rows">Token ids of each row; no row may be empty.</param>
    /// <param name="device">Device of the tensors; null is the CPU.</param>
    /// <param name="positionOffsets">First position of each row, where it is not 0.</param>
    /// <exception cref="ArgumentException">There is no row, or a row is empty.</exception>
    public static PackedBatch FromRows(
        IReadOnlyList<int[]> rows, Device? device = null, IReadOnlyList<int>? positionOffsets = null)
    {
        var offsets = RowOffsets(rows.Select(r => r.Length).ToArray());
        var ids = new long[offsets[^1]];
        var positions = new long[offsets[^1]];
        for (int b = 0; b < rows.Count; b++)
            for (int t = 0; t < rows[b].Length; t++)
            {
                ids[offsets[b] + t] = rows[b][t];
                positions[offsets[b] + t] = t + (positionOffsets?[b] ?? 0);
            }
        return new PackedBatch(offsets, ids, positions, null, null, device ?? CPU);
    }

    /// <summary>Packs texts that begin with the same tokens; what they share is there once (<see cref="Branches"/>).</summary>
    /// <param name="rows">What the texts of each row share, and how each goes on: no branch may be empty. A row of a single text may share nothing.</param>
    /// <param name="device">Device of the tensors; null is the CPU.</param>
    internal static PackedBatch FromBranches(IReadOnlyList<(int[] Shared, IReadOnlyList<int[]> Branches)> rows, Device? device)
    {
        var offsets = RowOffsets([.. rows.Select(row => row.Shared.Length + row.Branches.Sum(branch => branch.Length))]);
        return new PackedBatch(offsets,
            [.. rows.SelectMany(row => row.Branches.Prepend(row.Shared).SelectMany(ids => ids)).Select(id => (long)id)],
            [.. rows.SelectMany(row => Enumerable.Range(0, row.Shared.Length)
                .Concat(row.Branches.SelectMany(branch => Enumerable.Range(row.Shared.Length, branch.Length)))).Select(position => (long)position)],
            null, null, device ?? CPU)
        {
            Branches = [.. rows.Select(row => row.Branches.Count == 1 ? null : Starts(row.Shared.Length, row.Branches))],
        };

        static int[] Starts(int shared, IReadOnlyList<int[]> rest)
        {
            var starts = new int[rest.Count];
            for (int i = 0, at = shared; i < starts.Length; at += rest[i++].Length)
                starts[i] = at;
            return starts;
        }
    }

    /// <summary>Packs padded input as Hugging Face's models take it: every argument is [B][T].</summary>
    /// <param name="inputIds">Token ids, padding included.</param>
    /// <param name="attentionMask">1 for tokens, 0 for padding.</param>
    /// <param name="positionIds">Positions; null counts 0..T-1 over the padding too, as TRL's PPO forward pass does.</param>
    /// <param name="keepPadding">
    /// Keep padding tokens in their rows, unattended but computed: what an encoder does that reads
    /// position 0 of a left-padded row.
    /// </param>
    /// <param name="tokenTypeIds">Segment ids; null means zero.</param>
    /// <param name="device">Device of the tensors; null is the CPU.</param>
    public static PackedBatch FromPadded(
        IReadOnlyList<int[]> inputIds, IReadOnlyList<int[]> attentionMask, IReadOnlyList<int[]>? positionIds = null,
        bool keepPadding = false, IReadOnlyList<int[]>? tokenTypeIds = null, Device? device = null)
    {
        var kept = inputIds.Select((row, b) =>
            Enumerable.Range(0, row.Length).Where(t => keepPadding || attentionMask[b][t] != 0).ToArray()).ToArray();
        var offsets = RowOffsets(kept.Select(k => k.Length).ToArray());
        long[] Gather(Func<int, int, long> value) => kept.SelectMany((columns, b) => columns.Select(t => value(b, t))).ToArray();
        var mask = keepPadding ? Gather((b, t) => attentionMask[b][t]).Select(m => m != 0).ToArray() : null;
        return new PackedBatch(offsets, Gather((b, t) => inputIds[b][t]), Gather((b, t) => positionIds?[b][t] ?? t),
            mask is null || mask.All(m => m) ? null : mask,
            tokenTypeIds is null ? null : Gather((b, t) => tokenTypeIds[b][t]), device ?? CPU);
    }

    /// <summary>Packed token of each padded position [B · T]: a row's padding is its last token. Null when there is no padding.</summary>
    internal Tensor? PadIndex => Branches is not null ? throw HasBranches() : padIndex ??= IsUniform ? null : Copy(
        [.. Enumerable.Range(0, RowCount).SelectMany(b =>
            Enumerable.Range(0, MaxLength).Select(t => (long)Offsets[b] + Math.Min(t, Length(b) - 1)))], Device);

    /// <summary>Padded position of each packed token [N]. Null when there is no padding.</summary>
    internal Tensor? PackIndex => packIndex ??= IsUniform ? null : Copy(
        [.. Enumerable.Range(0, RowCount).SelectMany(b => Enumerable.Range(0, Length(b)).Select(t => (long)b * MaxLength + t))], Device);

    /// <summary>Packed [N, …] to padded [B, T, …], rows padded on the right with a repeated token of theirs.</summary>
    public Tensor Pad(Tensor packed)
    {
        var tail = packed.shape[1..];
        if (IsUniform)
            return packed.view([RowCount, MaxLength, .. tail]);
        return packed.index_select(0, PadIndex!).view([RowCount, MaxLength, .. tail]);
    }

    /// <summary>Padded [B, T, …] back to packed [N, …].</summary>
    public Tensor Pack(Tensor padded)
    {
        var tail = padded.shape[2..];
        var flat = padded.reshape([(long)RowCount * MaxLength, .. tail]);
        if (IsUniform)
            return flat;
        return flat.index_select(0, PackIndex!);
    }

    /// <summary>
    /// What attention in both directions must not see, as an additive mask [B, 1, 1, T] of 0 and minus infinity; null when it may
    /// see everything. The caller owns the tensor. Causal attention over rows padded on the right needs none, unless
    /// <see cref="KeyMask"/> is set.
    /// </summary>
    public Tensor? BidirectionalMask(ScalarType type)
    {
        if (IsUniform && KeyMask is null)
            return null;
        var mask = new float[RowCount * MaxLength];
        for (int b = 0; b < RowCount; b++)
            for (int t = 0; t < MaxLength; t++)
                if (t >= Length(b) || KeyMask is not null && !KeyMask[Offsets[b] + t])
                    mask[b * MaxLength + t] = float.NegativeInfinity;
        return tensor(mask, [RowCount, 1, 1, MaxLength], type, Device);
    }

    /// <summary>
    /// Throws when a token id, position or token type is outside a model's tables: libtorch itself would end the process.
    /// </summary>
    /// <param name="vocabSize">Number of token ids.</param>
    /// <param name="positions">Number of positions.</param>
    /// <param name="tokenTypes">Number of token types; null does not look at them.</param>
    /// <exception cref="ArgumentOutOfRangeException">Something is outside.</exception>
    public void CheckIds(int vocabSize, int positions, int? tokenTypes = null)
    {
        foreach (long id in HostIds)
            if ((ulong)id >= (ulong)vocabSize)
                throw new ArgumentOutOfRangeException(nameof(vocabSize),
                    $"Token id {id} is outside the model's vocabulary of {vocabSize}. Does the tokenizer belong to this model?");
        if (maxPosition >= positions)
            throw new ArgumentOutOfRangeException(nameof(positions),
                $"Position {maxPosition} is beyond the model's {positions} positions. Shorten the text.");
        if (maxTokenType > 0 && maxTokenType >= tokenTypes)
            throw new ArgumentOutOfRangeException(nameof(tokenTypes),
                $"Token type {maxTokenType} is beyond the model's {tokenTypes} types.");
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        InputIds.Dispose();
        PositionIds.Dispose();
        TokenTypeIds?.Dispose();
        padIndex?.Dispose();
        packIndex?.Dispose();
    }

    private static InvalidOperationException HasBranches() => new("A batch with branches was given to a model that does not read it.");

    private static Tensor Copy(long[] values, Device device) => tensor(values, int64, device).DetachFromDisposeScope();

    private static int[] RowOffsets(int[] lengths)
    {
        if (lengths.Length == 0)
            throw new ArgumentException("A packed batch needs at least one row.");
        var offsets = new int[lengths.Length + 1];
        for (int b = 0; b < lengths.Length; b++)
        {
            if (lengths[b] == 0)
                throw new ArgumentException($"Row {b} of the batch is empty; a row needs at least one token.");
            offsets[b + 1] = checked(offsets[b] + lengths[b]);
        }
        return offsets;
    }
}
