namespace Rlhf.Data.Files.Parquet;

/// <summary>
/// How much a parquet file may make its reader allocate. Everything in the format is a claim (rows, sizes of pages before they are
/// unpacked, texts that share their beginnings), so each is taken from one allowance before the memory is: what fits into any
/// machine, and beyond that what compression can have made of a file of this length. An honest file of 10 MB may unpack to 10 GB,
/// one of 463 bytes to no more than a small one.
/// </summary>
internal sealed class ParquetAllowance(long fileLength)
{
    private const long Free = 32 << 20, Ratio = 1000;
    private readonly Int128 all = Free + Ratio * (Int128)fileLength;
    private Int128 taken;

    /// <summary>Takes bytes before they are allocated.</summary>
    /// <exception cref="InvalidDataException">It is more than a file of this length holds.</exception>
    public void Take(long bytes, string what)
    {
        taken += bytes;
        if (bytes < 0 || taken > all)
            throw new InvalidDataException(
                $"{what} would take {bytes:N0} bytes, which no file of {fileLength:N0} bytes holds");
    }
}
