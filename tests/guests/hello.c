// The smallest guest there is.
#include "guest.h"

void main(u64 hart)
{
    if (hart != 0)
        return;
    print("hello\n");
    finish(0);
}
