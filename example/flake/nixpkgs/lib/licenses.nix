{
  gpl3Only = {
    spdxId = "GPL-3.0-only";
    fullName = "GNU General Public License v3.0 only";
    free = true;
  };
  mit = {
    spdxId = "MIT";
    fullName = "MIT License";
    free = true;
  };
}
