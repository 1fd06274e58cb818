using System.Globalization;

namespace Rlhf.Runtime.Text;

/// <summary>Numbers with a fixed count of decimals, the same on the screen and in model cards.</summary>
internal static class Decimals
{
    /// <summary>Such as 1,234.50; a number that rounds to zero has no sign, and one that is not finite is a dash.</summary>
    /// <param name="value">The number.</param>
    /// <param name="digits">Decimals. Default 2.</param>
    public static string Text(double value, int digits = 2)
    {
        if (!double.IsFinite(value))
            return "–";
        double rounded = Math.Round(value, digits);
        return (rounded == 0 ? 0 : rounded).ToString("N" + digits, CultureInfo.InvariantCulture); // no -0.00
    }
}
